"""Text as token ids: bytes as they are, or what a file of the tokenizers library makes of them.

Nouns: `Tokenizer` (the interface), `ByteTokenizer`, `FileTokenizer`.

    train_tokenizer(open_source("stdlib", "train"), "bpe.json", vocabulary=4096)
    tokenizer = open_tokenizer("bpe.json")  # or "bytes"
    tokenizer.encode([b"def f():"])         # [uint16 (3,)]

Only this module imports the tokenizers library, on first use; it is the optional group `text`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from layup_jax.data.records import Records
from layup_jax.data.roles import Kind
from layup_jax.errors import ConfigError, DataError

_END = "<|endoftext|>"
_ENDS = (_END, "<|end_of_text|>", "</s>", "<eos>", "[SEP]")
_CHUNK = 256


class Tokenizer(Protocol):
    """Texts to ids and back.

    Threads: any number may encode.

    Attributes:
      vocabulary: ids lie in [0, vocabulary), the one that ends a document included.
      end: the id that ends a document; no text contains it.
    """

    vocabulary: int
    end: int

    def encode(self, texts: Sequence[bytes]) -> list[np.ndarray]:
        """For each text (UTF-8) its ids (num_tokens,), without an end, in `smallest_dtype`."""
        ...

    def decode(self, ids: np.ndarray) -> str:
        """The text of ids (num_tokens,) without ends; undoes `encode`."""
        ...


class ByteTokenizer:
    """A token is a byte, 0 to 255; 256 ends a document. Any text is encoded without loss."""

    vocabulary = 257
    end = 256

    def encode(self, texts: Sequence[bytes]) -> list[np.ndarray]:
        """As `Tokenizer.encode`."""
        return [np.frombuffer(text, np.uint8).astype(np.uint16) for text in texts]

    def decode(self, ids: np.ndarray) -> str:
        """As `Tokenizer.decode`; bytes that are not UTF-8 become the replacement character."""
        return ids.astype(np.uint8).tobytes().decode("utf-8", errors="replace")


class FileTokenizer:
    """A tokenizer of the tokenizers library, as its file describes it.

    The end of a document is the file's own token for it, or one more id where it has none.
    Names of special tokens that occur in a text are text.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        """Reads the file.

        Raises:
          ConfigError: if the library is not installed.
          DataError: if there is no such file, or it describes no tokenizer.
        """
        library, path = _library(path), Path(path).expanduser()
        if not path.is_file():
            raise DataError(
                f"tokenizer must be 'bytes' or a file, got '{path}', which does not exist; "
                "give the path of a tokenizer.json"
            )
        try:
            self._tokenizer: Any = library.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare ones
            raise DataError(
                f"tokenizer file '{path}' must be one of the tokenizers library, got: {error}; "
                "save one with its Tokenizer.save or with layup_jax.data.train_tokenizer"
            ) from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._tokenizer.encode_special_tokens = True
        ids = self._tokenizer.get_vocab(with_added_tokens=True)
        largest = max(ids.values())
        self.end: int = next((ids[name] for name in _ENDS if name in ids), largest + 1)
        self.vocabulary: int = max(largest, self.end) + 1
        self._dtype = smallest_dtype(self.vocabulary)

    def encode(self, texts: Sequence[bytes]) -> list[np.ndarray]:
        """As `Tokenizer.encode`; bytes that are not UTF-8 become the replacement character."""
        strings = [text.decode("utf-8", errors="replace") for text in texts]
        encoded = self._tokenizer.encode_batch_fast(strings, add_special_tokens=False)
        return [np.array(each.ids, self._dtype) for each in encoded]

    def decode(self, ids: np.ndarray) -> str:
        """As `Tokenizer.decode`."""
        return self._tokenizer.decode(ids.tolist(), skip_special_tokens=False)


def open_tokenizer(name: str) -> Tokenizer:
    """The tokenizer "bytes", or that of a file.

    Raises:
      ConfigError, DataError: as in `FileTokenizer`.
    """
    return ByteTokenizer() if name == "bytes" else FileTokenizer(name)


def train_tokenizer(records: Records, path: str | os.PathLike, *, vocabulary: int) -> None:
    """Learns byte-pair encoding from the texts of a split, and saves it as a tokenizer file.

    Works on bytes, so that any text can be encoded; what occurs twice or more is merged.

    Args:
      records: of a data set of texts.
      path: of the file, which is replaced; its folder must exist.
      vocabulary: largest number of ids, the 256 bytes and the end of a document included.

    Raises:
      ConfigError: if the vocabulary is smaller than 257, or the library is not installed.
      DataError: if the data set holds no texts.
    """
    if vocabulary < ByteTokenizer.vocabulary:
        raise ConfigError(
            f"vocabulary must be at least {ByteTokenizer.vocabulary}, all bytes and the end of a "
            f"document, got {vocabulary}; raise it"
        )
    if records.kind is Kind.ARRAYS:
        raise DataError(
            f"data set {records.name} must hold texts, got {records.kind}; name one of texts"
        )
    library = _library(path)
    byte_level = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = byte_level
    tokenizer.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[_END],
        initial_alphabet=byte_level.alphabet(),
        show_progress=False,
    )
    chunks = (
        [text.decode("utf-8", errors="replace") for text in records.read_each(indices)[0]]
        for indices in np.array_split(np.arange(len(records)), len(records) // _CHUNK + 1)
        if len(indices)
    )
    tokenizer.train_from_iterator(chunks, trainer)
    tokenizer.save(str(path))


def smallest_dtype(vocabulary: int) -> np.dtype:
    """The unsigned integer of fewest bits that holds every id below `vocabulary`."""
    return np.min_scalar_type(vocabulary - 1)


def _library(path: str | os.PathLike) -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise ConfigError(
            f"tokenizer '{path}' needs the package tokenizers, got none; "
            "pip install layup_jax[text], or use tokenizer=bytes"
        ) from error
    return tokenizers
