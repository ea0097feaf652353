"""Random crops and flips of a batch of small images: what networks for CIFAR are trained with.

Nouns: none; `crops` makes a new batch out of one.

    rng = np.random.default_rng((seed, rank, number))
    crops(images, rng, padding=4, flips=True)  # (128, 32, 32, 3) as they are, each moved by up to 4
"""

from __future__ import annotations

import numpy as np


def crops(images: np.ndarray, rng: np.random.Generator, *, padding: int, flips: bool) -> np.ndarray:
    """Pads each image with zeros on every side, crops it at random, and may flip half of them.

    Args:
      images: (num_images, height, width, channels) of any dtype.
      rng: drawn from twice, whatever the images.
      padding: pixels on each side, at least 1.
      flips: whether half of the images are mirrored, left to right.

    Returns:
      A new array of the same shape and dtype.

    References:
      He et al. Deep Residual Learning. arXiv 1512.03385, section 4.2: flips, and 4 pixels for CIFAR.
    """
    count, height, width, channels = images.shape
    tops, lefts = rng.integers(0, 2 * padding + 1, (2, count))
    mirrored = (rng.random(count) < 0.5) & flips
    shape = (count, height + 2 * padding, width + 2 * padding, channels)
    padded = np.zeros(shape, images.dtype)
    padded[:, padding:-padding, padding:-padding] = images
    out = np.empty(images.shape, images.dtype)
    # A pixel as one item: its channels are moved together, which takes half the time.
    pixel = np.dtype((np.void, images.itemsize * channels))
    sources, targets = padded.view(pixel)[..., 0], out.view(pixel)[..., 0]
    places = zip(tops.tolist(), lefts.tolist(), mirrored.tolist(), strict=True)
    for index, (top, left, flip) in enumerate(places):
        crop = sources[index, top : top + height, left : left + width]
        targets[index] = crop[:, ::-1] if flip else crop
    return out
