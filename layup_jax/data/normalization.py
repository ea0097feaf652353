"""Images of zero mean and unit deviation in each channel, by constants that were published.

Nouns: `Normalization`; `PUBLISHED` has those known by the name of their data set.

    normalization = PUBLISHED["cifar10"]
    normalization(images_uint8).dtype  # float32, about (x / 255 - mean) / deviation
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Normalization(NamedTuple):
    """Mean and standard deviation of each channel, of pixels in [0, 1]."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Normalises (..., width, channels), uint8 or float in [0, 1], to float32."""
        inverse = 1 / np.asarray(self.deviation)
        scale = inverse / 255 if images.dtype == np.uint8 else inverse
        # By rows of pixels: a loop over three channels at a time takes four times as long.
        rows = images.reshape(*images.shape[:-2], -1)
        width = images.shape[-2]
        normalized = np.multiply(rows, _repeated(scale, width), dtype=np.float32)
        normalized -= _repeated(self.mean * inverse, width)
        return normalized.reshape(images.shape)


def _repeated(channels: np.ndarray, width: int) -> np.ndarray:
    return np.tile(channels.astype(np.float32), width)


# CIFAR: over all pixels of the 50,000 training images, to the digits that public code uses.
# ImageNet: as published with the networks of torchvision.
PUBLISHED = {
    "cifar10": Normalization((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": Normalization((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "imagenet2012": Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
