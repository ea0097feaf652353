"""One split of a TFDS data set on disk, read by index.

Nouns: `Records`.

    records = open_source("digits", "train")
    inputs, labels = records.read([0, 7])  # raw: float32 (2, 8, 8, 1), int64 (2,)
    records.sample_bytes * len(records)    # what decoding all of it would take
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from layup_jax.data.roles import find_roles
from layup_jax.errors import DataError

Indices: TypeAlias = Sequence[int] | np.ndarray

_CHUNK = 1024


class Records:
    """Random access to the inputs and labels of one split, decoded but not converted.

    Threads: any number may read.

    Attributes:
      name: data set and split, for messages.
      kind: of the data set.
      shape: of an input, as declared; None for each size that may differ. () of text.
      num_classes: the classes the data set declares. None if it declares none.
    """

    def __init__(self, source: Any, info: Any, *, name: str) -> None:
        """Binds a TFDS data source to the keys of its inputs and labels.

        Args:
          source: what `builder.as_data_source(split)` returns.
          info: the builder's `DatasetInfo`.
          name: data set and split, for messages.

        Raises:
          DataError: if the data set does not say which features are input and label.
        """
        self.name = name
        self.kind, self._input_key, self._label_key = find_roles(info, name)
        self.shape: tuple[int | None, ...] = info.features[self._input_key].shape
        label = None if self._label_key is None else info.features[self._label_key]
        self.num_classes: int | None = getattr(label, "num_classes", None)
        self._source = source
        self._info = info

    def __len__(self) -> int:
        """Records in the split."""
        return len(self._source)

    @cached_property
    def sample_bytes(self) -> int:
        """Bytes of the first input and label, decoded, as stored."""
        return sum(array.nbytes for array in self.read([0]))

    def read(self, indices: Indices) -> tuple[np.ndarray, np.ndarray]:
        """Reads and decodes the records at `indices`.

        Args:
          indices: at least one index in [0, len(self)).

        Returns:
          Inputs (len(indices), ...) and labels (len(indices), ...) in the dtypes stored.

        Raises:
          DataError: if the records differ in shape, so that no batch can hold them, or as in
            `read_each`.
        """
        chunks = [
            self._read_chunk(indices[start : start + _CHUNK])
            for start in range(0, len(indices), _CHUNK)
        ]
        if len(chunks) == 1:
            return chunks[0]
        inputs, labels = zip(*chunks, strict=True)
        return self._join(np.concatenate, inputs), self._join(np.concatenate, labels)

    def read_each(self, indices: Indices) -> tuple[list[Any], list[Any]]:
        """Reads and decodes records that may differ in shape.

        Args:
          indices: any number of indices in [0, len(self)).

        Returns:
          The inputs, arrays or, of text, UTF-8 bytes; and the labels, none of documents.

        Raises:
          DataError: if the files are damaged or gone.
        """
        keys = [int(index) for index in indices]
        try:
            examples = self._source.__getitems__(keys)
        except (ImportError, MemoryError):
            raise
        except Exception as error:  # array_record, protobuf and decoders raise anything
            raise self._damaged(keys, error) from error
        if not all(self._is_whole(example) for example in examples):
            raise self._damaged(keys, EOFError("empty records"))
        labelled = examples if self._label_key is not None else []
        return (
            [example[self._input_key] for example in examples],
            [example[self._label_key] for example in labelled],
        )

    def _read_chunk(self, indices: Indices) -> tuple[np.ndarray, np.ndarray]:
        inputs, labels = self.read_each(indices)
        return self._join(np.stack, inputs), self._join(np.stack, labels)

    def _join(self, join: Any, parts: Sequence[Any]) -> np.ndarray:
        try:
            return join(parts)
        except ValueError as error:
            shapes = sorted({np.shape(part) for part in parts})[:2]
            raise DataError(
                f"data set {self.name} must have records of one shape, got {shapes}; resize them "
                "with augment=resized_crop, or pass arrays=(inputs, labels)"
            ) from error

    def _is_whole(self, example: Any) -> bool:
        """A file cut short between two blocks is read as empty records, without an error."""
        keys = (self._input_key, self._label_key)
        return all(example[key] is not None for key in keys if key is not None)

    def _damaged(self, keys: Sequence[int], error: Exception) -> DataError:
        path = self._file(next((key for key in keys if not self._is_readable(key)), keys[0]))
        reason = (str(error).splitlines() or [""])[0].rstrip(".")
        return DataError(
            f"data set {self.name} must be whole, but its file {path.name} is damaged "
            f"({type(error).__name__}: {reason}); delete {path.parent} and prepare or copy it again"
        )

    def _is_readable(self, key: int) -> bool:
        try:
            return self._is_whole(self._source[key])
        except Exception:
            return False

    def _file(self, key: int) -> Path:
        """The file that holds a record."""
        parts = self._info.splits[self._source.split].file_instructions
        ends = np.cumsum([part.take for part in parts])
        return Path(parts[np.searchsorted(ends, key, side="right")].filename)
