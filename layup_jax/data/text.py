"""Text as a split of a data set: documents to be continued, or texts with a class each.

Nouns: `Documents`, `LabelledTexts`.

    documents = Documents(open_source("stdlib", "train"), SampleForm(context=128))
    batch = documents.evaluation(16)
    batch.inputs.shape, batch.labels.shape  # (16, 128), (16, 128): the same, one token on
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from layup_jax.data.batch import Batch
from layup_jax.data.form import SampleForm
from layup_jax.data.records import Records
from layup_jax.data.samples import check_labels
from layup_jax.data.share import Share, spread
from layup_jax.data.signature import Signature
from layup_jax.data.spec import LoaderSpec
from layup_jax.data.tokenizer import open_tokenizer, smallest_dtype
from layup_jax.data.tokens import RowSamples, WindowSamples
from layup_jax.errors import DataError

_CHUNK = 256
_INT32 = np.dtype(np.int32)


class Documents:
    """Language modelling: documents joined to one row of tokens, cut into windows.

    Each document is followed by the token that ends it. Worker r of n gets every n-th document from
    the r-th on, so shards have as many documents, but not as many windows: their epochs differ in
    length. A shard's tokens are kept in memory, two bytes each for up to 65,536 ids.
    Implements `DataSet`.
    """

    def __init__(self, records: Records, form: SampleForm) -> None:
        """Opens the tokenizer; no text is read yet.

        Raises:
          ConfigError, DataError: as in `open_tokenizer`.
          DataError: mixup is asked for.
        """
        _check_form(form, records)
        self._records = records
        self._context = form.context
        self._tokenizer = open_tokenizer(form.tokenizer)

    @property
    def signature(self) -> Signature:
        """As `DataSet.signature`."""
        shape, size = (self._context,), self._tokenizer.vocabulary
        return Signature(self._records.kind, shape, _INT32, shape, size, size)

    @property
    def num_samples(self) -> None:
        """As `DataSet.num_samples`."""
        return None

    def check(self, spec: LoaderSpec) -> None:
        """As `DataSet.check`; whether the tokens suffice is only known to `share`."""
        spec.shard(len(self._records)).check_size(f"data set {self._records.name}")
        _check_vocabulary(spec, self._tokenizer.vocabulary)

    def share(self, spec: LoaderSpec) -> Share:
        """As `DataSet.share`; reads and tokenises this worker's documents."""
        self.check(spec)
        documents = spec.shard(len(self._records)).positions
        samples = self._windows(documents, f"worker {spec.rank} of {spec.num_workers}")
        # As if all workers had as many windows as this one: only its own share of them counts.
        shard = spec.shard(len(samples) * spec.num_workers)
        shard.check(f"data set {self._records.name} in windows of {self._context} tokens")
        return Share(samples, shard, prefetch=False)

    def evaluation(self, num_samples: int | None = None) -> Batch:
        """As `DataSet.evaluation`: windows of all documents."""
        samples = self._windows(np.arange(len(self._records)), "evaluation")
        return samples.gather(spread(len(samples), num_samples), 0)

    def _windows(self, documents: np.ndarray, who: str) -> WindowSamples:
        tokens = self._tokens(documents)
        if len(tokens) <= self._context:
            raise DataError(
                f"data set {self._records.name} must have more than context={self._context} tokens "
                f"for {who}, got {len(tokens)} in {len(documents)} documents; lower context, use "
                "fewer workers or a larger split"
            )
        return WindowSamples(tokens, self._context)

    def _tokens(self, documents: np.ndarray) -> np.ndarray:
        dtype = smallest_dtype(self._tokenizer.vocabulary)
        end = np.array([self._tokenizer.end], dtype)
        parts = [np.empty(0, dtype)]
        for chunk in _chunks(documents):
            encoded = self._tokenizer.encode(self._records.read_each(chunk)[0])
            parts.append(np.concatenate([piece for ids in encoded for piece in (ids, end)]))
        return np.concatenate(parts)


class LabelledTexts:
    """Text classification: the first tokens of a text, filled up with zeros; ids are one higher.

    Implements `DataSet`.
    """

    def __init__(self, records: Records, form: SampleForm) -> None:
        """Opens the tokenizer; no text is read yet.

        Raises:
          ConfigError, DataError: as in `open_tokenizer`.
          DataError: the data set does not say how many classes there are, or mixup is asked for.
        """
        _check_form(form, records)
        if records.num_classes is None:
            raise DataError(
                f"data set {records.name} must declare the classes of its texts, got none; "
                "prepare a version whose label is a ClassLabel"
            )
        self._records = records
        self._context = form.context
        self._tokenizer = open_tokenizer(form.tokenizer)
        self._num_classes = records.num_classes

    @property
    def signature(self) -> Signature:
        """As `DataSet.signature`; the vocabulary has the token that fills up."""
        shape, vocabulary = (self._context,), self._tokenizer.vocabulary + 1
        return Signature(self._records.kind, shape, _INT32, (), self._num_classes, vocabulary)

    @property
    def num_samples(self) -> int:
        """As `DataSet.num_samples`."""
        return len(self._records)

    def check(self, spec: LoaderSpec) -> None:
        """As `DataSet.check`."""
        spec.shard(len(self._records)).check(f"data set {self._records.name}")

    def share(self, spec: LoaderSpec) -> Share:
        """As `DataSet.share`; reads and tokenises this worker's texts."""
        self.check(spec)
        shard = spec.shard(len(self._records))
        tokens, labels = self._rows(shard.positions)
        check_labels(labels, spec.num_classes or self._num_classes)
        return Share(RowSamples(tokens, labels), shard, prefetch=False)

    def evaluation(self, num_samples: int | None = None) -> Batch:
        """As `DataSet.evaluation`."""
        tokens, labels = self._rows(spread(len(self._records), num_samples))
        check_labels(labels, self._num_classes)
        return RowSamples(tokens, labels).gather(np.arange(len(labels)), 0)

    def _rows(self, texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        dtype = smallest_dtype(self._tokenizer.vocabulary + 1)
        tokens, labels = np.zeros((len(texts), self._context), dtype), []
        row = iter(tokens)
        for chunk in _chunks(texts):
            read, classes = self._records.read_each(chunk)
            for ids in self._tokenizer.encode(read):
                kept = ids[: self._context]
                next(row)[: len(kept)] = kept.astype(dtype) + 1
            labels += classes
        return tokens, np.asarray(labels)


def _check_form(form: SampleForm, records: Records) -> None:
    if form.mixup:
        raise DataError(
            f"mixup needs images with labels, got {records.kind} in data set {records.name}; use mixup=0"
        )


def _chunks(indices: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(indices), _CHUNK):
        yield indices[start : start + _CHUNK]


def _check_vocabulary(spec: LoaderSpec, vocabulary: int) -> None:
    if spec.num_classes is not None and spec.num_classes < vocabulary:
        raise DataError(
            f"num_classes must be at least {vocabulary}, the vocabulary of tokenizer "
            f"'{spec.form.tokenizer}', got {spec.num_classes}; raise it or use another tokenizer"
        )
