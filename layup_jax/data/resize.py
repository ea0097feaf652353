"""Images of any size brought to one: random resized crops to train, centre crops to test.

Nouns: `Box`. Only this module imports Pillow, on first use.

    resized_crops(images, 224, rng)  # uint8 (len(images), 224, 224, 3), each a random part
    centre_crops(images, 224)        # the same shape, the middle of each
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

Images: TypeAlias = np.ndarray | Sequence[np.ndarray]

_SCALE = (0.08, 1.0)
_LOG_RATIO = (np.log(3 / 4), np.log(4 / 3))
_ATTEMPTS = 10
_TEST_RESIZE = 256 / 224


class Box(NamedTuple):
    """A part of an image, in pixels."""

    left: int
    top: int
    right: int
    bottom: int


def resized_crops(images: Images, size: int, rng: np.random.Generator) -> np.ndarray:
    """Cuts a random part out of each image, resizes it, and flips half of them.

    Args:
      images: uint8 (height, width, channels) each; one or three channels.
      size: height and width of what comes out.
      rng: drawn from for each image in turn.

    Returns:
      uint8 (len(images), size, size, channels).

    References:
      Szegedy et al. Going Deeper with Convolutions. arXiv 1409.4842, section 6: 8 to 100% of the
      area, aspect ratio 3/4 to 4/3. Bilinear, and after ten attempts that do not fit the centre, as
      torchvision does.
    """
    out = [_resize(image, (size, size), random_box(image.shape, rng)) for image in images]
    flips = rng.random(len(out)) < 0.5
    return np.stack(
        [each[:, ::-1] if flip else each for each, flip in zip(out, flips, strict=True)]
    )


def centre_crops(images: Images, size: int) -> np.ndarray:
    """Resizes each image to a shorter side of size * 256 / 224, and cuts out its middle.

    Args:
      images: as in `resized_crops`.
      size: height and width of what comes out.

    Returns:
      uint8 (len(images), size, size, channels).
    """
    return np.stack([_centre_crop(image, size) for image in images])


def random_box(shape: Sequence[int], rng: np.random.Generator) -> Box:
    """Draws a part of 8 to 100% of the area, of a ratio of width to height from 3/4 to 4/3."""
    height, width = shape[:2]
    for _ in range(_ATTEMPTS):
        area = height * width * rng.uniform(*_SCALE)
        ratio = np.exp(rng.uniform(*_LOG_RATIO))
        wide, high = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
        if 0 < wide <= width and 0 < high <= height:
            left, top = rng.integers(width - wide + 1), rng.integers(height - high + 1)
            return Box(int(left), int(top), int(left) + wide, int(top) + high)
    wide = min(width, round(height * np.exp(_LOG_RATIO[1])))
    high = min(height, round(width / np.exp(_LOG_RATIO[0])))
    left, top = (width - wide) // 2, (height - high) // 2
    return Box(left, top, left + wide, top + high)


def _centre_crop(image: np.ndarray, size: int) -> np.ndarray:
    height, width = image.shape[:2]
    scale = max(size, round(size * _TEST_RESIZE)) / min(height, width)
    high, wide = max(size, round(height * scale)), max(size, round(width * scale))
    resized = _resize(image, (wide, high), Box(0, 0, width, height))
    top, left = (high - size) // 2, (wide - size) // 2
    return resized[top : top + size, left : left + size]


def _resize(image: np.ndarray, size: tuple[int, int], box: Box) -> np.ndarray:
    """The part `box` of an image at `size`, its width and height; shrunk without aliasing."""
    from PIL import Image

    channels = image.shape[2]
    pixels = image[..., 0] if channels == 1 else image
    resized = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR, box)
    return np.asarray(resized).reshape(size[1], size[0], channels)
