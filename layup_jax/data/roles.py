"""Which features of a TFDS data set are read, and what kind of data set that makes it.

Nouns: `Kind`, `Roles`.

    image, label, supervised           ->  Kind.ARRAYS          as they are
    text, label, supervised            ->  Kind.LABELLED_TEXTS  a class for each text
    text, and nothing is supervised    ->  Kind.DOCUMENTS       to be continued, token by token
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np

from layup_jax.errors import DataError

_TEXT_KEY = "text"


class Kind(StrEnum):
    """What is learnt from a data set."""

    ARRAYS = "arrays with labels"
    LABELLED_TEXTS = "texts with labels"
    DOCUMENTS = "documents"


class Roles(NamedTuple):
    """The features that are read.

    Attributes:
      kind: of the data set.
      input_key: name of the feature that holds inputs.
      label_key: name of the one that holds labels; None of documents.
    """

    kind: Kind
    input_key: str
    label_key: str | None


def find_roles(info: Any, name: str) -> Roles:
    """Decides what a data set is from its features.

    Args:
      info: the builder's `DatasetInfo`.
      name: data set and split, for messages.

    Raises:
      DataError: if the features do not say what is input and label, or which text is meant.
    """
    keys, features = info.supervised_keys, info.features
    texts = [key for key in features if _is_text(features[key])]
    if keys is None or (len(keys) == 2 and keys[0] == keys[1]):
        return Roles(Kind.DOCUMENTS, _document_key(texts, keys, name), None)
    if len(keys) != 2 or any(not isinstance(key, str) or key not in features for key in keys):
        raise _undeclared(keys, name)
    kind = Kind.LABELLED_TEXTS if keys[0] in texts else Kind.ARRAYS
    return Roles(kind, *keys)


def _document_key(texts: list[str], keys: Any, name: str) -> str:
    if not texts:
        raise _undeclared(keys, name)
    if keys is not None and keys[0] in texts:
        return keys[0]
    if _TEXT_KEY not in texts and len(texts) > 1:
        raise DataError(
            f"data set {name} without supervised_keys must have one text, or one named "
            f"'{_TEXT_KEY}', got {', '.join(sorted(texts))}; prepare a version that does"
        )
    return _TEXT_KEY if _TEXT_KEY in texts else texts[0]


def _is_text(feature: Any) -> bool:
    return getattr(feature, "shape", None) == () and feature.np_dtype == np.object_


def _undeclared(keys: Any, name: str) -> DataError:
    return DataError(
        f"data set {name} must declare supervised_keys (input, label), got {keys}; "
        "prepare a version that does, or pass arrays=(inputs, labels)"
    )
