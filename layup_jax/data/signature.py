"""What a data set looks like to a model.

Nouns: `Signature`.

    signature = open_data_set("digits", "train").signature
    signature.input_shape, signature.num_classes  # (8, 8, 1), 10
    check_model(model, loss, signature.example())
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from layup_jax.data.batch import Batch
from layup_jax.data.roles import Kind


class Signature(NamedTuple):
    """What a data set looks like to a model.

    Attributes:
      kind: of the data set.
      input_shape: of one sample.
      input_dtype: float32, or int32 of tokens and other integers.
      label_shape: of one sample; () of a class, (context,) of tokens.
      num_classes: that a label may have: the logits of a model. Of documents the vocabulary.
      vocabulary: that a token of the inputs may have. None where inputs are not text.
    """

    kind: Kind
    input_shape: tuple[int, ...]
    input_dtype: np.dtype
    label_shape: tuple[int, ...]
    num_classes: int
    vocabulary: int | None = None

    def example(self) -> Batch:
        """A batch of one sample, all zeros."""
        return Batch(
            np.zeros((1, *self.input_shape), self.input_dtype),
            np.zeros((1, *self.label_shape), np.int32),
        )
