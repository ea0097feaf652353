"""The batch: what a loader yields and an evaluation consumes.

Nouns: `Batch`.

    batch = Batch.from_raw(images_uint8, labels_int64)
    batch.inputs.dtype, batch.labels.dtype  # float32 in [0, 1], int32
    model(batch.inputs)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from layup_jax.errors import DataError

_UINT8_SCALE = np.float32(1 / 255)


class Batch(NamedTuple):
    """Samples with their labels; a pytree, and its arrays are shared with nobody.

    Attributes:
      inputs: float32 (num_samples, ...), or int32 where the data set holds integers wider than
        eight bits (token ids).
      labels: int32 (num_samples, ...); after mixup float32 (num_samples, num_classes), probabilities.
    """

    inputs: np.ndarray
    labels: np.ndarray

    @classmethod
    def from_raw(cls, inputs: np.ndarray, labels: np.ndarray) -> Batch:
        """Converts arrays as stored into a batch.

        Args:
          inputs: (num_samples, ...); uint8 is divided by 255, other floats and booleans become
            float32, other integers int32.
          labels: (num_samples, ...) of any integer type.

        Returns:
          The batch; an array that already has its final dtype is not copied.

        Raises:
          DataError: if the labels are not integers or the inputs are not numbers.
        """
        return cls(as_inputs(inputs), as_labels(labels))


def as_inputs(raw: np.ndarray) -> np.ndarray:
    """Gives stored inputs (any shape) the dtype of `Batch.inputs`."""
    if raw.dtype == np.uint8:
        return np.multiply(raw, _UINT8_SCALE, dtype=np.float32)
    if raw.dtype.kind in "fb":
        return raw.astype(np.float32, copy=False)
    if raw.dtype.kind in "iu":
        return raw.astype(np.int32, copy=False)
    raise DataError(
        f"inputs must be numbers, got an array of {raw.dtype}; encode them as numbers first"
    )


def as_labels(raw: np.ndarray) -> np.ndarray:
    """Gives stored labels (any shape) the dtype of `Batch.labels`."""
    if raw.dtype.kind not in "iu":
        raise DataError(
            f"labels must be integers, got an array of {raw.dtype}; encode them, or pass a "
            "function that yields batches"
        )
    return raw.astype(np.int32, copy=False)
