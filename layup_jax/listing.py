"""`layup list`: which algorithms, topologies, models and data sets there are.

    groups = catalogue()                   # tuple[Group, ...]; compiles and trains nothing
    show(groups, open_console())           # one line each: its name, and what it is

What is printed comes from where it is used: the registries and the docstrings of what is in them.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from layup_jax.metrics.console import open_console
from layup_jax.models import MODELS
from layup_jax.strategies import STRATEGIES
from layup_jax.topology import TOPOLOGIES

if TYPE_CHECKING:
    from rich.console import Console

_DIGITS = "Handwritten digits of 8x8 pixels in ten classes, which come with this program"
_STDLIB = "Text: the source files of the standard library of the Python that runs"
_EMBEDDED_FOLDERS = ("layup_digits", "layup_stdlib")
_DEFAULT_FOLDER = "~/tensorflow_datasets"


class Entry(NamedTuple):
    """One thing to choose: what it is called, and what it is, in one line."""

    name: str
    summary: str


class Group(NamedTuple):
    """Things of one kind, and the key of the configuration that chooses among them."""

    title: str
    key: str
    entries: tuple[Entry, ...]


def catalogue() -> tuple[Group, ...]:
    """Everything that a configuration can name; looks for data sets on disk."""
    return (
        Group("algorithms", "strategy.name", _algorithms()),
        Group("topologies", "strategy.topology", _topologies()),
        Group("models", "model.name", _models()),
        Group("data sets", "data.name", _data_sets()),
    )


def show(groups: Sequence[Group], console: Console) -> None:
    """Prints all groups; a summary that is longer than its line goes on below itself."""
    for number, group in enumerate(groups):
        if number:
            console.print()
        title = f"[bold]{group.title}[/]  --config.{group.key}="
        console.print(title, highlight=False, soft_wrap=True)
        console.print(_table(group.entries))


def main() -> int:
    """The command."""
    show(catalogue(), open_console())
    return 0


def _table(entries: Sequence[Entry]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, 0, 0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, summary in entries:
        table.add_row(Text(name, "cyan"), Text(summary))
    return table


def _algorithms() -> tuple[Entry, ...]:
    return tuple(Entry(name, _sentence(each.summary)) for name, each in STRATEGIES.items())


def _topologies() -> tuple[Entry, ...]:
    named = [Entry(name, _first_line(make)) for name, make in TOPOLOGIES.items()]
    file = Entry(
        "path of a file", "Any graph that networkx reads: .edgelist, .adjlist, .graphml, .gml"
    )
    return (*named, file)


def _models() -> tuple[Entry, ...]:
    return tuple(Entry(name, _first_line(make)) for name, make in MODELS.items())


def _data_sets() -> tuple[Entry, ...]:
    folder = Path(os.environ.get("TFDS_DATA_DIR", _DEFAULT_FOLDER))
    found = [Entry(name, f"On disk in {folder}") for name in _on_disk(folder.expanduser())]
    other = Entry(
        "any name of TFDS", f"Prepared at first use in {folder}, or in --data_dir of layup train"
    )
    return (Entry("digits", _DIGITS), Entry("stdlib", _STDLIB), *found, other)


def _on_disk(folder: Path) -> list[str]:
    """Names of the prepared data sets: folders name/version or name/config/version."""
    infos = [*folder.glob("*/*/dataset_info.json"), *folder.glob("*/*/*/dataset_info.json")]
    names = {info.parent.parent.relative_to(folder).as_posix() for info in infos}
    return sorted(name for name in names if name.split("/")[0] not in _EMBEDDED_FOLDERS)


def _first_line(documented: Any) -> str:
    return _sentence((inspect.getdoc(documented) or "").partition("\n")[0])


def _sentence(text: str) -> str:
    """The same beginning and end for all, whether from a docstring or from a registry."""
    return text[:1].upper() + text[1:].removesuffix(".")
