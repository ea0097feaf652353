"""The samples of one shard, gathered into batches: from memory or from disk.

Nouns: `Samples` (the interface), `ArraySamples` (decoded once), `RecordSamples` (each time).
Those of text are in `layup_jax.data.tokens`.

    samples = ArraySamples(*records.read(shard.positions))
    batch = samples.gather(shard.order(epoch=0)[:32], number=0)
    batch.inputs.shape  # (32, 8, 8, 1)
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from layup_jax.data.batch import Batch, as_inputs, as_labels
from layup_jax.data.form import DEFAULT_FORM
from layup_jax.data.records import Records
from layup_jax.data.view import View
from layup_jax.errors import DataError

_AS_STORED = View(DEFAULT_FORM)


class Samples(Protocol):
    """Samples that can be gathered by their index within the shard; any thread may."""

    def gather(self, indices: np.ndarray, number: int) -> Batch:
        """Copies samples into a new batch.

        Args:
          indices: int64 (n,), of the samples.
          number: of the batch since the start; what is random in it depends on nothing else.

        Returns:
          The n samples in this order; equal arguments give equal batches.
        """
        ...


class ArraySamples:
    """Samples in two contiguous arrays; a batch is one vectorised copy of each.

    Inputs of uint8 stay so, a quarter of the memory, and are converted with each batch.
    """

    def __init__(self, inputs: np.ndarray, labels: np.ndarray, view: View = _AS_STORED) -> None:
        """Takes over `inputs` (num_samples, ...) and `labels` (num_samples, ...)."""
        self._inputs = inputs if inputs.dtype == np.uint8 else as_inputs(inputs)
        self._labels = as_labels(labels)
        self._view = view

    def gather(self, indices: np.ndarray, number: int) -> Batch:
        """As `Samples.gather`, from memory."""
        inputs = self._inputs.take(indices, axis=0)
        return self._view.batch_to_train(inputs, self._labels.take(indices, axis=0), number)

    def check_labels(self, num_classes: int) -> None:
        """Raises DataError if a label is outside [0, num_classes)."""
        check_labels(self._labels, num_classes)


class RecordSamples:
    """Samples on disk, each decoded whenever it is gathered; for sets larger than memory."""

    def __init__(
        self,
        records: Records,
        positions: np.ndarray,
        view: View = _AS_STORED,
        *,
        num_classes: int | None = None,
    ) -> None:
        """Keeps `records` open; `positions` is int64 (num_samples,), the shard's records.

        Labels are checked batch by batch against `num_classes`, if there is one.
        """
        self._records = records
        self._positions = positions
        self._view = view
        self._num_classes = num_classes

    def gather(self, indices: np.ndarray, number: int) -> Batch:
        """As `Samples.gather`, from disk."""
        read = self._records.read_each if self._view.resizes else self._records.read
        inputs, labels = read(self._positions[indices])
        labels = as_labels(np.asarray(labels))
        if self._num_classes is not None:
            check_labels(labels, self._num_classes)
        return self._view.batch_to_train(inputs, labels, number)


def check_labels(labels: np.ndarray, num_classes: int) -> None:
    """Raises DataError if a label (at least one, of any shape) is outside [0, num_classes)."""
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= num_classes:
        raise DataError(
            f"labels must lie in [0, {num_classes}), got values from {lowest} to {highest}; "
            f"set num_classes={highest + 1} or correct the labels"
        )
