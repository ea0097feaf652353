"""A split of a data set, whatever it holds: what is trained on and evaluated, and what a model sees.

Nouns: `DataSet`; `open_data_set` decides by the features which one it is.

    data_set = open_data_set("stdlib", "train", form=SampleForm(context=128))
    data_set.signature.num_classes                       # 257, the bytes and the end of a document
    data_set.share(LoaderSpec("stdlib", num_workers=4))  # see make_loader
"""

from __future__ import annotations

import os
from typing import Protocol

from layup_jax.data.batch import Batch
from layup_jax.data.form import DEFAULT_FORM, SampleForm
from layup_jax.data.labelled_arrays import LabelledArrays
from layup_jax.data.roles import Kind
from layup_jax.data.share import Share
from layup_jax.data.signature import Signature
from layup_jax.data.source import open_source
from layup_jax.data.spec import LoaderSpec
from layup_jax.data.text import Documents, LabelledTexts

_KINDS = {
    Kind.ARRAYS: LabelledArrays,
    Kind.LABELLED_TEXTS: LabelledTexts,
    Kind.DOCUMENTS: Documents,
}


class DataSet(Protocol):
    """One split of a data set."""

    @property
    def signature(self) -> Signature:
        """What it looks like to a model."""
        ...

    @property
    def num_samples(self) -> int | None:
        """Of the split; None of documents, whose windows are known only to who has read them."""
        ...

    def check(self, spec: LoaderSpec) -> None:
        """Raises DataError for what is known to stop `share`, without reading the split."""
        ...

    def share(self, spec: LoaderSpec) -> Share:
        """What one worker trains on.

        Raises:
          DataError: damaged files, too little for a batch of each worker, labels out of range.
        """
        ...

    def evaluation(self, num_samples: int | None = None) -> Batch:
        """The samples of the split in the order on disk, or so many of them, evenly spread.

        Raises:
          DataError: damaged files, labels out of range, or no samples.
        """
        ...


def open_data_set(
    name: str,
    split: str,
    data_dir: str | os.PathLike | None = None,
    form: SampleForm = DEFAULT_FORM,
) -> DataSet:
    """Opens one split of a data set, preparing the data set first if it is not on disk.

    Args:
      name: as in `open_source`.
      split: as in `open_source`.
      data_dir: as in `open_source`.
      form: how its records become samples.

    Returns:
      Arrays with labels, texts with labels, or documents, by the features the data set has.

    Raises:
      DataError: as in `open_source`, or if the records cannot have that form.
      ConfigError: if the tokenizers library is needed and not installed.
    """
    records = open_source(name, split, data_dir)
    return _KINDS[records.kind](records, form)
