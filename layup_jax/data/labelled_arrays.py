"""Images, or other arrays, with labels: a split of a data set as training and evaluation see it.

Nouns: `LabelledArrays`.

    images = LabelledArrays(open_source("cifar10", "train"), SampleForm(augment="crop_flip"))
    images.signature.input_shape  # (32, 32, 3)
    images.share(spec)            # this worker's samples, in memory if they fit
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from layup_jax.data.batch import Batch, as_labels
from layup_jax.data.form import SampleForm
from layup_jax.data.mixup import check_mixable
from layup_jax.data.records import Records
from layup_jax.data.samples import ArraySamples, RecordSamples, check_labels
from layup_jax.data.share import Share, spread
from layup_jax.data.signature import Signature
from layup_jax.data.spec import LoaderSpec
from layup_jax.data.view import View
from layup_jax.errors import DataError

_CHUNK = 1024


class LabelledArrays:
    """One split of arrays with labels; implements `DataSet`."""

    def __init__(self, records: Records, form: SampleForm) -> None:
        """Reads the first record, to know the shape of all.

        Raises:
          DataError: if it cannot be read, or seen as `form` says.
        """
        self._records = records
        self._view = View(form)
        inputs, labels = records.read_each([0])
        self._view.check(np.asarray(inputs[0]), f"data set {records.name}")
        self._first = Batch(self._view.to_test(inputs), as_labels(np.asarray(labels)))
        if form.mixup:
            check_mixable(self._first, f"data set {records.name}")

    @cached_property
    def signature(self) -> Signature:
        """As `DataSet.signature`; where no classes are declared, all records are read to count."""
        inputs, labels = self._first
        return Signature(
            self._records.kind,
            inputs.shape[1:],
            inputs.dtype,
            labels.shape[1:],
            self._records.num_classes or self._count_classes(),
        )

    @property
    def num_samples(self) -> int:
        """As `DataSet.num_samples`."""
        return len(self._records)

    def check(self, spec: LoaderSpec) -> None:
        """As `DataSet.check`."""
        spec.shard(len(self._records)).check(f"data set {self._records.name}")

    def share(self, spec: LoaderSpec) -> Share:
        """As `DataSet.share`; decoded once if that fits the memory limit, and all have one shape."""
        self.check(spec)
        records, shard = self._records, spec.shard(len(self._records))
        classes = spec.num_classes or records.num_classes
        if classes is None and spec.form.mixup:
            classes = self.signature.num_classes
        view = View(spec.form, spec.seed, spec.rank, classes)
        is_ragged = view.resizes and None in records.shape
        if is_ragged or shard.size * records.sample_bytes > spec.memory_limit_bytes:
            _check_declared_classes(spec, records)
            samples = RecordSamples(records, shard.positions, view, num_classes=classes)
            return Share(samples, shard, prefetch=True)
        samples = ArraySamples(*records.read(shard.positions), view)
        if classes is not None:
            samples.check_labels(classes)
        return Share(samples, shard, prefetch=view.is_costly)

    def evaluation(self, num_samples: int | None = None) -> Batch:
        """As `DataSet.evaluation`; stored inputs are held a thousand at a time."""
        indices = spread(len(self._records), num_samples)
        if not self._view.resizes:
            inputs, labels = self._records.read(indices)
            batch = Batch(self._view.to_test(inputs), as_labels(labels))
        else:
            starts = range(0, len(indices), _CHUNK)
            parts = [self._evaluated(indices[start : start + _CHUNK]) for start in starts]
            batch = Batch(*map(np.concatenate, zip(*parts, strict=True)))
        if self._records.num_classes is not None:
            check_labels(batch.labels, self._records.num_classes)
        return batch

    def _evaluated(self, indices: np.ndarray) -> Batch:
        inputs, labels = self._records.read_each(indices)
        return Batch(self._view.to_test(inputs), as_labels(np.asarray(labels)))

    def _count_classes(self) -> int:
        chunks = np.array_split(np.arange(len(self._records)), len(self._records) // _CHUNK + 1)
        largest = [np.max(self._records.read_each(chunk)[1]) for chunk in chunks if len(chunk)]
        return int(max(largest)) + 1


def _check_declared_classes(spec: LoaderSpec, records: Records) -> None:
    declared, allowed = records.num_classes, spec.num_classes
    if declared is not None and allowed is not None and declared > allowed:
        raise DataError(
            f"num_classes must be at least {declared}, the classes of data set {records.name}, "
            f"got {allowed}; raise it"
        )
