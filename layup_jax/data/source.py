"""Finding a TFDS data set by name: on disk, or prepared there as array_record.

Nouns: none; `open_source` gives `Records`, `prepare_source` makes sure the files exist.

    prepare_source("digits", data_dir)            # 1.5 s once, 5 ms when already there
    records = open_source("digits", "train[:80%]", data_dir)
    records = open_source("cifar10", "test")      # downloads into TFDS's default folder

TensorFlow is not needed to read: array_record is the one format TFDS reads without it. Some data sets
(cifar10, mnist) TFDS only writes with it.
"""

from __future__ import annotations

import difflib
import importlib.util
import os
import re
import socket
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from layup_jax.data.records import Records
from layup_jax.errors import DataError

_ALIASES = {"digits": "layup_digits", "stdlib": "layup_stdlib"}
_FORMAT = "array_record"


def open_source(name: str, split: str, data_dir: str | os.PathLike | None = None) -> Records:
    """Opens one split of a data set, preparing the data set first if it is not on disk.

    Args:
      name: any TFDS name ("mnist", "name/config:1.0.0"), one on disk without code, "digits" or
        "stdlib".
      split: a TFDS split, also "train[:80%]" or "train+test".
      data_dir: folder of the data sets. None for TFDS's default: $TFDS_DATA_DIR, or
        ~/tensorflow_datasets.

    Returns:
      The records of the split.

    Raises:
      DataError: if the data set or split is unknown, cannot be prepared (no network, say), or is
        on disk in a format without random access.
    """
    builder = prepare_source(name, data_dir)
    try:
        source = builder.as_data_source(split)
    except ValueError as error:
        known = ", ".join(builder.info.splits)
        raise DataError(
            f"split {split!r} of data set {name!r} was not found; use one of {known}"
        ) from error
    return Records(source, builder.info, name=f"{name!r} {split}")


def prepare_source(name: str, data_dir: str | os.PathLike | None = None) -> Any:
    """Makes sure that a data set is on disk as array_record; quick when it already is.

    Processes that start together may each generate the files, in folders of their own; TFDS renames
    the first one that is complete into place, and the others drop theirs and use it. To download
    once only, let one process call this before the others.

    Args:
      name: as in `open_source`.
      data_dir: as in `open_source`.

    Returns:
      The TFDS builder, reading from disk.

    Raises:
      DataError: as in `open_source`.
    """
    builder = _find_builder(name, data_dir)
    if not builder.data_path.exists():
        _generate(builder, name)
        builder = _find_builder(name, data_dir)  # the first one may lack the winner's split sizes
    found = builder.info.file_format.value
    if found != _FORMAT:
        raise DataError(
            f"data set {name!r} must be on disk as {_FORMAT}, got {found} in {builder.data_path}; "
            "move that folder away or pass another data_dir, and it is prepared again"
        )
    return builder


def _find_builder(name: str, data_dir: str | os.PathLike | None) -> Any:
    """The builder of `name`, from code or from files; nothing is generated."""
    import tensorflow_datasets as tfds

    base = re.split("[:/]", name, maxsplit=1)[0]
    name = _ALIASES.get(base, base) + name[len(base) :]
    if name.startswith("layup_"):
        _register_own()
    try:
        return tfds.builder(name, data_dir=None if data_dir is None else os.fspath(data_dir))
    except tfds.core.DatasetNotFoundError as error:
        near = ", ".join(_nearest_names(name, data_dir))
        raise DataError(
            f"data set {name!r} was not found in TFDS or on disk; the nearest names are {near}"
        ) from error
    except (ValueError, AssertionError) as error:
        raise DataError(
            f"data set {name!r} must name a config and version that exist, got "
            f"{_reason(error)!r}; leave config and version out for the default"
        ) from error


def _register_own() -> None:
    """Importing a builder registers it with TFDS."""
    import layup_jax.data.digits
    import layup_jax.data.stdlib  # noqa: F401


def _generate(builder: Any, name: str) -> None:
    """Downloads if needed and writes the files, unless another process was first."""
    host = _unknown_host(builder)
    if host is not None:
        raise _not_prepared(builder, name, f"there is no way to {host}, which has its files")
    try:
        builder.download_and_prepare(file_format=_FORMAT)
    except Exception as error:  # runs the data set's own code, which may raise anything
        if builder.data_path.exists():  # another process renamed its finished folder first
            return
        why = f"{type(error).__name__}: {_reason(error)}"
        if isinstance(error, ImportError) and importlib.util.find_spec("tensorflow") is None:
            why = "writing it, unlike reading it, needs TensorFlow: pip install tensorflow"
        raise _not_prepared(builder, name, why) from error


def _unknown_host(builder: Any) -> str | None:
    """A host that its files would be fetched from and that nobody knows here.

    TFDS itself tries for minutes. With a proxy, or if files have been fetched before, it may do without.
    """
    downloads = (Path(builder.data_dir_root) / "downloads").rglob("*")
    if urllib.request.getproxies() or any(each.is_file() for each in downloads):
        return None
    for host in {urllib.parse.urlsplit(url).hostname for url in builder.url_infos or ()}:
        try:
            socket.getaddrinfo(host, None)
        except OSError:
            return host
    return None


def _not_prepared(builder: Any, name: str, why: str) -> DataError:
    return DataError(
        f"data set {name!r} is not on disk and could not be prepared ({why}); mend that, or run "
        "`python -c 'from layup_jax.data import prepare_source as prepare; "
        f'prepare("{name}")\'` where there is a network and copy the folder to '
        f"{builder.data_dir_root}."
    )


def _nearest_names(name: str, data_dir: str | os.PathLike | None) -> list[str]:
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import constants

    root = Path(constants.DATA_DIR if data_dir is None else data_dir).expanduser()
    on_disk = [path.name for path in root.iterdir() if path.is_dir()] if root.is_dir() else []
    known = {*_ALIASES, *on_disk, *tfds.list_builders(with_community_datasets=False)}
    return difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.0)


def _reason(error: BaseException) -> str:
    """The first line of an error, without the call that TFDS puts before it."""
    first_line = (str(error).splitlines() or [""])[0]
    return first_line.rpartition('}": ')[2].rstrip(".")
