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
        """Normalises (..., channels), uint8 or float in [0, 1], to float32."""
        inverse = 1 / np.asarray(self.deviation)
        scale = inverse / 255 if images.dtype == np.uint8 else inverse
        normalized = np.multiply(images, scale.astype(np.float32), dtype=np.float32)
        normalized -= (self.mean * inverse).astype(np.float32)
        return normalized


# CIFAR: over all pixels of the 50,000 training images, to the digits that public code uses.
# ImageNet: as published with the networks of torchvision.
PUBLISHED = {
    "cifar10": Normalization((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": Normalization((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "imagenet2012": Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
