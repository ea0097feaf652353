"""The loader: one worker's endless stream of batches, resumable at any batch.

Nouns: `Loader`; `make_loader` gives one, `load_split` a whole split at once.

    loader = make_loader(LoaderSpec("digits", batch_size=32, rank=rank, num_workers=4))
    batch = next(loader)
    state = loader.get_state()  # later: make_loader(same spec).set_state(state)
    loader.close()
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from layup_jax.data.batch import Batch
from layup_jax.data.dataset import open_data_set
from layup_jax.data.form import DEFAULT_FORM, SampleForm
from layup_jax.data.mixup import check_mixable
from layup_jax.data.samples import ArraySamples
from layup_jax.data.share import Share
from layup_jax.data.spec import LoaderSpec
from layup_jax.data.view import View
from layup_jax.errors import DataError

Arrays: TypeAlias = tuple[ArrayLike, ArrayLike]


class Loader:
    """An endless iterator of `Batch`, reshuffled every epoch by (seed, epoch).

    Threads: one at a time may call.
    Blocks: `next` while a batch is gathered; where the shard exceeds the memory limit, or images are
      augmented, threads of grain work ahead and `next` waits for them.
    After close: `next` raises DataError.

    Attributes:
      num_samples: samples in this worker's shard, each visited at most once an epoch.
      batches_per_epoch: full batches in the shard; the remainder is dropped.
    """

    def __init__(self, share: Share) -> None:
        """Opens the stream; users call `make_loader`."""
        from layup_jax.data.stream import open_stream  # grain takes a second to import

        self.num_samples = share.shard.size
        self.batches_per_epoch = share.shard.batches_per_epoch
        self._closed = False
        self._stream = open_stream(share.samples, share.shard, prefetch=share.prefetch)

    def __iter__(self) -> Iterator[Batch]:
        """The stream itself."""
        return self

    def __next__(self) -> Batch:
        """The next batch; the stream never ends."""
        if self._closed:
            raise DataError("loader must be open, got a closed one; make another from its spec.")
        return next(self._stream)

    def get_state(self) -> dict[str, Any]:
        """The place in the stream: small, made of JSON types, read only by `set_state`."""
        return self._stream.get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Continues where `state` was taken, by a loader of an equal spec.

        Raises:
          DataError: if `state` is not one that `get_state` gave.
        """
        try:
            self._stream.set_state(state)
        except (IndexError, KeyError, TypeError) as error:
            raise DataError(
                f"loader state must come from get_state, got {state!r}; start from a new loader"
            ) from error

    def close(self) -> None:
        """Ends grain's threads, if there are any; idempotent."""
        self._closed = True
        self._stream.close()

    def __enter__(self) -> Loader:
        """Gives the loader."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Closes the loader."""
        self.close()


def make_loader(spec: LoaderSpec, *, arrays: Arrays | None = None) -> Loader:
    """Opens one worker's stream of batches.

    A shard of at most `spec.memory_limit_bytes`, decoded, is decoded once into memory; a larger one
    is decoded batch by batch. Both give the same batches.

    Args:
      spec: what to load.
      arrays: inputs (num_samples, ...) and labels (num_samples, ...) to use instead of the named
        data set; this worker's shard is copied. Inputs of uint8 are divided by 255.

    Returns:
      The loader, at batch 0 of epoch 0.

    Raises:
      DataError: if the data set cannot be opened or have the form, a batch cannot be filled, or a
        label is not below `spec.num_classes`, or else the classes that the data set declares.
      ConfigError: if the tokenizers library is needed and not installed.
    """
    if arrays is not None:
        return Loader(_share_arrays(spec, arrays))
    return Loader(open_data_set(spec.name, spec.split, spec.data_dir, spec.form).share(spec))


def load_split(
    name: str,
    split: str,
    data_dir: str | os.PathLike | None = None,
    *,
    form: SampleForm = DEFAULT_FORM,
    num_samples: int | None = None,
) -> Batch:
    """Decodes a whole split into one batch, in the order on disk; for evaluation.

    Args:
      name: as in `open_source`.
      split: as in `open_source`.
      data_dir: as in `open_source`.
      form: how records become samples; images are never cropped or flipped at random.
      num_samples: at most so many, evenly spread over the split. None for all.

    Returns:
      The samples: of documents the windows of all of them.

    Raises:
      DataError: as in `open_data_set`, if the records differ in shape, or if a label is not below
        the classes that the data set declares.
      ConfigError: if the tokenizers library is needed and not installed.
    """
    return open_data_set(name, split, data_dir, form).evaluation(num_samples)


def _share_arrays(spec: LoaderSpec, arrays: Arrays) -> Share:
    inputs, labels = (np.asarray(array) for array in arrays)
    if inputs.ndim == 0 or labels.ndim == 0 or len(inputs) != len(labels):
        raise DataError(
            "arrays must be as many inputs as labels, got shapes "
            f"{inputs.shape} and {labels.shape}; pass one label for each input"
        )
    shard = spec.shard(len(inputs))
    shard.check("the arrays")
    classes = spec.num_classes
    if spec.form.mixup:
        check_mixable(Batch.from_raw(inputs[:1], labels[:1]), "the arrays")
        classes = classes or int(labels.max()) + 1
    view = View(spec.form, spec.seed, spec.rank, classes)
    view.check(inputs[0], "the arrays")
    # Copies: a view of a jax array would keep its buffer from being donated.
    samples = ArraySamples(inputs[shard.positions], labels[shard.positions], view)
    if classes is not None:
        samples.check_labels(classes)
    return Share(samples, shard, prefetch=view.is_costly)
