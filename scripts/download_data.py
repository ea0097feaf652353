#!/usr/bin/env python
"""Fetches a TFDS data set into array_record files, which training reads without TensorFlow.

    .venv/bin/python scripts/download_data.py cifar10 --data_dir=/data

Says how large it is before anything is fetched; run again, it goes on where it stopped. What cannot be
done is one sentence and exit status 2. The sets of configs/: cifar10, cifar100, imagenet2012 (two files
of it by hand), imdb_reviews, lm1b; any other name of TFDS is tried too. scripts/README.md has sizes.
"""

import argparse
import hashlib
import importlib.util
import shutil
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from layup_jax.data import prepare_source
from layup_jax.errors import DataError, LayupError

_GB = 1e9
_BLOCK = 1 << 20
_SECONDS = 60  # that a server may say nothing
# Their TFDS code opens files, or encodes images, with TensorFlow.
_NEED_TENSORFLOW = ("cifar10", "cifar100", "imagenet2012", "lm1b", "mnist")
# Bytes of the records, where they are not about as many as are fetched.
_RECORD_BYTES = {"imagenet2012": 156e9, "lm1b": 4.5e9}


def main(argv: Sequence[str] | None = None) -> int:
    """Fetches one data set; the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", help="of TFDS, such as cifar10")
    parser.add_argument(
        "--data_dir", metavar="DIR", help="folder of the data sets (default: TFDS's)"
    )
    options = parser.parse_args(argv)
    try:
        download(options.name, options.data_dir)
    except LayupError as error:
        sys.stderr.write(f"layup: {' '.join(str(error).split())}\n")
        return 2
    return 0


def download(name: str, data_dir: str | None) -> None:
    """Makes sure that a data set is on disk.

    Raises:
      DataError: one sentence about what is in the way.
    """
    builder = _builder(name, data_dir)
    if not builder.data_path.exists():
        by_hand = Path(builder.data_dir_root) / "downloads" / "manual"
        files = dict(builder.url_infos or {})
        _check_tensorflow(builder.name)
        _check_by_hand(builder, by_hand)
        _check_space(builder, sum(int(each.size) for each in files.values()))
        if len(files) == 1 and not builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
            ((url, expected),) = files.items()
            fetch(url, by_hand / expected.filename, expected.size, expected.checksum)
        prepare_source(name, data_dir)
        builder = _builder(name, data_dir)
    size = sum(file.stat().st_size for file in Path(builder.data_path).rglob("*") if file.is_file())
    _say(f"{name} is complete, {size / _GB:.2f} GB in {builder.data_path}")


def fetch(url: str, path: Path, size: int, checksum: str) -> None:
    """Downloads a file, from where an earlier try stopped, to TFDS's folder for files fetched by hand.

    Raises:
      DataError: no network, or other bytes than expected.
    """
    if path.exists() and _digest(path) == checksum:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    done = part.stat().st_size if part.exists() else 0
    try:
        if done < size:
            _say(f"fetching {url}, {done / _GB:.2f} of {size / _GB:.2f} GB are here")
            _append(url, part, done)
    except OSError as error:
        raise DataError(
            f"{url} must be fetched, got '{error}'; run this again, it goes on where it stopped, or "
            f"fetch it where there is a network and copy the file to {path}"
        ) from error
    if part.stat().st_size < size:
        raise DataError(
            f"{url} must give {size} bytes, got {part.stat().st_size}; run this again to go on there"
        )
    if _digest(part) != checksum:
        part.unlink()
        raise DataError(
            f"{url} must have the checksum that TFDS knows, got other bytes; run this again, or fetch "
            f"{path.name} from elsewhere to {path}"
        )
    part.rename(path)


def _append(url: str, part: Path, done: int) -> None:
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
        goes_on = done and answer.status == 206  # else the server begins anew
        with part.open("ab" if goes_on else "wb") as file:
            while block := answer.read(_BLOCK):
                file.write(block)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _builder(name: str, data_dir: str | None) -> Any:
    import tensorflow_datasets as tfds

    try:
        return tfds.builder(name, data_dir=data_dir)
    except (tfds.core.DatasetNotFoundError, ValueError, AssertionError) as error:
        raise DataError(
            f"data set '{name}' must be one of TFDS, which this version does not have or cannot "
            "generate; see tensorflow.org/datasets/catalog for names"
        ) from error


def _check_tensorflow(name: str) -> None:
    if name in _NEED_TENSORFLOW and importlib.util.find_spec("tensorflow") is None:
        raise DataError(
            f"writing '{name}', unlike reading it, needs TensorFlow, found none; run pip install "
            "tensorflow in any environment with layup_jax, run this there, and copy the folder"
        )


def _check_by_hand(builder: Any, folder: Path) -> None:
    instructions = builder.MANUAL_DOWNLOAD_INSTRUCTIONS
    if instructions and not (folder.is_dir() and any(folder.iterdir())):
        raise DataError(
            f"data set '{builder.name}' has files that are fetched by hand, found none in {folder}; put "
            f"them there and run this again: {instructions}"
        )


def _check_space(builder: Any, fetched: int) -> None:
    """Of what is fetched, unpacked, and written as records."""
    by_hand = bool(builder.MANUAL_DOWNLOAD_INSTRUCTIONS)
    records = _RECORD_BYTES.get(builder.name, fetched)
    needed = records if by_hand else 2 * fetched + records
    root = Path(builder.data_dir_root).expanduser().absolute()
    free = shutil.disk_usage(next(each for each in (root, *root.parents) if each.exists())).free
    if not fetched:
        _say(
            f"{builder.name}: TFDS does not say how large it is; {free / _GB:.1f} GB are free in {root}"
        )
    else:
        _say(
            f"{builder.name}: {fetched / _GB:.2f} GB to fetch{' by hand' * by_hand}, about "
            f"{needed / _GB:.2f} GB of space needed, {free / _GB:.1f} GB free in {root}"
        )
    if free < needed:
        raise DataError(
            f"data set '{builder.name}' needs about {needed / _GB:.1f} GB, got {free / _GB:.1f} GB in "
            f"{root}; make room or pass another --data_dir"
        )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
