"""One split of a TFDS data set on disk, read by index.

Nouns: `Records`.

    records = open_source("digits", "train")
    inputs, labels = records.read([0, 7])  # raw: float32 (2, 8, 8, 1), int64 (2,)
    records.sample_bytes * len(records)    # what decoding all of it would take
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from layup_jax.errors import DataError

_CHUNK = 1024


class Records:
    """Random access to the (input, label) pairs of one split, decoded but not converted.

    Threads: any number may read.

    Attributes:
      name: data set and split, for messages.
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
        keys = info.supervised_keys
        if keys is None or len(keys) != 2 or any(key not in info.features for key in keys):
            raise DataError(
                f"data set {name} must declare supervised_keys (input, label), got {keys}; "
                "prepare a version that does, or pass arrays=(inputs, labels)"
            )
        self.name = name
        self.num_classes: int | None = getattr(info.features[keys[1]], "num_classes", None)
        self._source = source
        self._input_key, self._label_key = keys

    def __len__(self) -> int:
        """Records in the split."""
        return len(self._source)

    @cached_property
    def sample_bytes(self) -> int:
        """Bytes of the first input and label, decoded, as stored."""
        return sum(array.nbytes for array in self.read([0]))

    def read(self, indices: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Reads and decodes the records at `indices`.

        Args:
          indices: at least one index in [0, len(self)).

        Returns:
          Inputs (len(indices), ...) and labels (len(indices), ...) in the dtypes stored.

        Raises:
          DataError: if the records differ in shape, so that no batch can hold them.
        """
        chunks = [
            self._read_chunk(indices[start : start + _CHUNK])
            for start in range(0, len(indices), _CHUNK)
        ]
        if len(chunks) == 1:
            return chunks[0]
        inputs, labels = zip(*chunks, strict=True)
        return self._join(np.concatenate, inputs), self._join(np.concatenate, labels)

    def _read_chunk(self, indices: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        examples = self._source.__getitems__([int(index) for index in indices])
        inputs = [example[self._input_key] for example in examples]
        labels = [example[self._label_key] for example in examples]
        return self._join(np.stack, inputs), self._join(np.stack, labels)

    def _join(self, join: Any, parts: Sequence[Any]) -> np.ndarray:
        try:
            return join(parts)
        except ValueError as error:
            shapes = sorted({np.shape(part) for part in parts})[:2]
            raise DataError(
                f"data set {self.name} must have records of one shape, got {shapes}; "
                "resize them first and pass arrays=(inputs, labels)"
            ) from error
