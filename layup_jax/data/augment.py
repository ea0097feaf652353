"""Random crops and flips of a batch of small images: what networks for CIFAR are trained with.

Nouns: none; `crop_flip` makes a new batch out of one.

    rng = np.random.default_rng((seed, rank, number))
    crop_flip(images, rng)  # (128, 32, 32, 3) as they are, each moved by up to 4 pixels
"""

from __future__ import annotations

import numpy as np

_PADDING = 4


def crop_flip(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pads each image with 4 zeros on every side, crops it at random, and flips half of them.

    Args:
      images: (num_images, height, width, channels) of any dtype.
      rng: drawn from twice, whatever the images.

    Returns:
      A new array of the same shape and dtype.

    References:
      He et al. Deep Residual Learning. arXiv 1512.03385, section 4.2.
    """
    count, height, width, channels = images.shape
    tops, lefts = rng.integers(0, 2 * _PADDING + 1, (2, count))
    flips = rng.random(count) < 0.5
    shape = (count, height + 2 * _PADDING, width + 2 * _PADDING, channels)
    padded = np.zeros(shape, images.dtype)
    padded[:, _PADDING:-_PADDING, _PADDING:-_PADDING] = images
    out = np.empty(images.shape, images.dtype)
    # A pixel as one item: its channels are moved together, which takes half the time.
    pixel = np.dtype((np.void, images.itemsize * channels))
    sources, targets = padded.view(pixel)[..., 0], out.view(pixel)[..., 0]
    places = zip(tops.tolist(), lefts.tolist(), flips.tolist(), strict=True)
    for index, (top, left, flip) in enumerate(places):
        crop = sources[index, top : top + height, left : left + width]
        targets[index] = crop[:, ::-1] if flip else crop
    return out
