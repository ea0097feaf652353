"""The running Python's own standard library as a TFDS data set of text, without network.

Nouns: `LayupStdlib`, `StdlibConfig`. Importing this module registers the builder with TFDS.

    builder = LayupStdlib(data_dir=path, file_format="array_record")
    builder.download_and_prepare()
    builder.as_data_source("train")[0]  # {"path": b"__future__.py", "text": b"Record of ..."}
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import tensorflow_datasets as tfds

_TEST_SHARE = 20
_LEFT_OUT = {"site-packages", "dist-packages", "__pycache__"}


@dataclasses.dataclass(eq=False)
class StdlibConfig(tfds.core.BuilderConfig):
    """Which folder is read.

    Attributes:
      root: the folder. None for the standard library of this Python.
    """

    root: Path | None = None


class LayupStdlib(tfds.core.GeneratorBasedBuilder):
    """Source files of Python's standard library, one document each, in the order of their paths.

    A file is for testing if the SHA-256 of its path below the library's folder (with slashes, UTF-8)
    is divisible by 20; so a file stays on its side whatever else a Python has. Files that are not
    UTF-8 are left out, as is what has been installed beside the library.

    Pythons do not share their texts: the configuration is called after the minor version ("3.11"),
    and the last number of the data set's version is the micro version (1.0.7 of Python 3.11.7).
    """

    VERSION = tfds.core.Version(f"1.0.{sys.version_info.micro}")
    BUILDER_CONFIGS = (StdlibConfig(name=f"{sys.version_info.major}.{sys.version_info.minor}"),)
    url_infos = None  # as in LayupDigits

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Python's standard library, a document for each source file.",
            features=tfds.features.FeaturesDict(
                {"path": tfds.features.Text(), "text": tfds.features.Text()}
            ),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict]]]:
        del dl_manager  # the files come with Python
        assert isinstance(self.builder_config, StdlibConfig)
        root = self.builder_config.root or Path(sysconfig.get_paths()["stdlib"])
        return {
            "train": self._generate_examples(root, is_test=False),
            "test": self._generate_examples(root, is_test=True),
        }

    def _generate_examples(self, root: Path, is_test: bool) -> Iterator[tuple[int, dict]]:
        paths = [path for path in _source_paths(root) if is_test_path(path) == is_test]
        for number, path in enumerate(paths):
            text = _text(root / path)
            if text is not None:
                yield number, {"path": str(path), "text": text}


def is_test_path(path: PurePosixPath) -> bool:
    """Whether the file at this path below the library's folder is for testing."""
    digest = hashlib.sha256(str(path).encode()).digest()
    return int.from_bytes(digest, "big") % _TEST_SHARE == 0


def _source_paths(root: Path) -> list[PurePosixPath]:
    paths: list[PurePosixPath] = []
    for folder, below, files in os.walk(root):
        below[:] = [name for name in below if name not in _LEFT_OUT]  # walked no further
        place = PurePosixPath(Path(folder).relative_to(root).as_posix())
        paths += [place / name for name in files if name.endswith(".py")]
    return sorted(paths)


def _text(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        return None
