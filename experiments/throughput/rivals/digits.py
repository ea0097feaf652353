"""One worker's endless stream of batches of digits: the images of layup_jax.data.digits, as NumPy.

    batches = digit_batches(rank=0, workers=4)
    images, labels = next(batches)    # float32 (32, 8, 8, 1) in [0, 1], int32 (32,)

The package's own loader would bring JAX into the processes of PyTorch. This one, like that one,
copies a batch out of memory with one indexing operation, which is less than a PyTorch DataLoader does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np

BATCH_SIZE = 32
IMAGE_SHAPE = (8, 8, 1)
NUM_CLASSES = 10
Samples: TypeAlias = tuple[np.ndarray, np.ndarray]
_TEST_STRIDE = 5


def digit_batches(rank: int, workers: int, seed: int = 0) -> Iterator[Samples]:
    """Every `workers`-th training image from `rank` on, in a new order each epoch, rest dropped."""
    images, labels = (each[rank::workers] for each in training_digits())
    random = np.random.default_rng((seed, rank))
    while True:
        order = random.permutation(len(labels))
        for start in range(0, len(order) - BATCH_SIZE + 1, BATCH_SIZE):
            chosen = order[start : start + BATCH_SIZE]
            yield images[chosen], labels[chosen]


def training_digits() -> Samples:
    """The 1,437 training images, (samples, 8, 8, 1) in [0, 1], and their labels, (samples,)."""
    from sklearn.datasets import load_digits  # not needed by those who ask for the sizes

    pixels, labels = load_digits(return_X_y=True)
    is_training = np.arange(len(labels)) % _TEST_STRIDE != 0
    images = (np.reshape(pixels, (-1, *IMAGE_SHAPE)) / 16).astype(np.float32)
    return images[is_training], labels[is_training].astype(np.int32)
