"""The samples of one shard, gathered into batches: from memory or from disk.

Nouns: `Samples` (the interface), `ArraySamples` (decoded once), `RecordSamples` (each time).

    samples = ArraySamples(*records.read(shard.positions))
    batch = samples.gather(shard.order(epoch=0)[:32])
    batch.inputs.shape  # (32, 8, 8, 1)
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from layup_jax.data.batch import Batch, as_inputs, as_labels
from layup_jax.data.records import Records
from layup_jax.errors import DataError


class Samples(Protocol):
    """Samples that can be gathered by their index within the shard; any thread may."""

    def gather(self, indices: np.ndarray) -> Batch:
        """Copies the samples at `indices`, int64 (n,), into a new batch of n."""
        ...


class ArraySamples:
    """Samples in two contiguous arrays; a batch is one vectorised copy of each.

    Inputs of uint8 stay so, a quarter of the memory, and are converted with each batch.
    """

    def __init__(self, inputs: np.ndarray, labels: np.ndarray) -> None:
        """Takes over `inputs` (num_samples, ...) and `labels` (num_samples, ...)."""
        self._inputs = inputs if inputs.dtype == np.uint8 else as_inputs(inputs)
        self._labels = as_labels(labels)

    def gather(self, indices: np.ndarray) -> Batch:
        """As `Samples.gather`, from memory."""
        inputs = self._inputs.take(indices, axis=0)
        return Batch(as_inputs(inputs), self._labels.take(indices, axis=0))

    def check_labels(self, num_classes: int) -> None:
        """Raises DataError if a label is outside [0, num_classes)."""
        lowest, highest = int(self._labels.min()), int(self._labels.max())
        if lowest < 0 or highest >= num_classes:
            raise DataError(
                f"labels must lie in [0, {num_classes}), got values from {lowest} to {highest}; "
                f"set num_classes={highest + 1} or correct the labels"
            )


class RecordSamples:
    """Samples on disk, each decoded whenever it is gathered; for sets larger than memory."""

    def __init__(self, records: Records, positions: np.ndarray) -> None:
        """Keeps `records` open; `positions` is int64 (num_samples,), the shard's records."""
        self._records = records
        self._positions = positions

    def gather(self, indices: np.ndarray) -> Batch:
        """As `Samples.gather`, from disk."""
        return Batch.from_raw(*self._records.read(self._positions[indices]))
