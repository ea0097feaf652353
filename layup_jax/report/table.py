"""The numbers of a comparison: one row for each group, one column for each measure or setting.

table = make_table(comparison)
to_csv(table)           # plain numbers, to compute with
to_markdown(table)      # rounded ones, to read
"""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from layup_jax.metrics import RunSummary
from layup_jax.report.comparison import Comparison, Group, Run

UNKNOWN = "–"


class Column(NamedTuple):
    """What is in one column.

    Attributes:
      key: in CSV, with the unit.
      title: for readers, with the unit.
      numeric: whether its cells hold numbers.
    """

    key: str
    title: str
    numeric: bool


class Cell(NamedTuple):
    """One group in one column.

    Attributes:
      text: for readers, rounded.
      value: exact, mean over the runs of the group; None where there is no number.
      spread: sample standard deviation over the runs; None for fewer than two.
    """

    text: str
    value: float | None = None
    spread: float | None = None


class Table(NamedTuple):
    """Columns, and for each group a cell in each."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


class Measure(NamedTuple):
    """A number that a run has in its summary.

    Attributes:
      column: that it stands in.
      form: of the rounded number.
      value: None if it was not measured.
    """

    column: Column
    form: str
    value: Callable[[RunSummary], float | None]


# Only where a run was profiled.
_MFU = Measure(Column("mfu", "MFU", True), ".3f", lambda s: s.mfu)


def make_table(comparison: Comparison) -> Table:
    """Names and states first, then what was measured, then the settings that differ."""
    parts = [_names(comparison.groups), _measures(comparison)]
    parts += [_setting(key, comparison.groups) for key in comparison.differing]
    columns = tuple(column for part in parts for column in part.columns)
    rows = zip(*(part.rows for part in parts), strict=True)
    return Table(columns, tuple(tuple(cell for part in row for cell in part) for row in rows))


def to_csv(table: Table) -> str:
    """Exact numbers, empty where there is none; spreads in columns of their own if there are any."""
    columns = [
        each
        for column, cells in zip(table.columns, zip(*table.rows, strict=True), strict=True)
        for each in _csv_columns(column, cells)
    ]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(zip(*columns, strict=True))
    return text.getvalue()


def to_markdown(table: Table) -> str:
    """A table of Markdown: words to the left, numbers to the right."""
    header = [column.title for column in table.columns]
    align = ["---:" if column.numeric else "---" for column in table.columns]
    rows = [[_markdown_safe(cell.text) for cell in row] for row in table.rows]
    lines = [[_markdown_safe(title) for title in header], align, *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _csv_columns(column: Column, cells: Sequence[Cell]) -> Iterator[list[Any]]:
    if column.numeric:
        yield [column.key, *(cell.value for cell in cells)]
    else:
        yield [column.key, *("" if cell.text == UNKNOWN else cell.text for cell in cells)]
    if any(cell.spread is not None for cell in cells):
        yield [f"{column.key}_spread", *(cell.spread for cell in cells)]


def _markdown_safe(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>&|#~])", r"\\\1", " ".join(text.split()))


def _names(groups: Sequence[Group]) -> Table:
    titles = ("run", "seeds", "algorithm", "workers", "status")
    columns = tuple(Column(title, title, title == "workers") for title in titles)
    return Table(columns, tuple(_name_cells(group) for group in groups))


def _name_cells(group: Group) -> tuple[Cell, ...]:
    first = group.runs[0]
    seeds = ", ".join(str(run.settings["seed"]) for run in group.runs)
    texts = group.label, seeds, _algorithm(first)
    return (*map(Cell, texts), Cell(str(first.workers), first.workers), Cell(first.status))


def _algorithm(run: Run) -> str:
    name, mixing = run.settings["strategy.name"], run.summary and run.summary.mixing
    return name if mixing in (None, "none") else f"{name}, {mixing.replace('_', '-')}"


def _measures(comparison: Comparison) -> Table:
    measures = _all_measures(comparison.shared.get("evaluation.target"))
    runs = itertools.chain.from_iterable(group.runs for group in comparison.groups)
    if all(run.settings.get("evaluation.target") is None for run in runs):
        measures = [each for each in measures if each.column.key != "time_to_target_seconds"]
    if any(_measured(_MFU, group).value is not None for group in comparison.groups):
        measures.append(_MFU)
    rows = [[_measured(measure, group) for measure in measures] for group in comparison.groups]
    return Table(tuple(measure.column for measure in measures), tuple(map(tuple, rows)))


def _all_measures(target: float | None) -> list[Measure]:
    goal = "target" if target is None else f"accuracy {target:g}"

    def measure(key: str, title: str, form: str, value: Callable[[RunSummary], Any]) -> Measure:
        return Measure(Column(key, title, True), form, value)

    return [
        measure("test_accuracy", "accuracy", ".4f", lambda s: s.test_accuracy),
        measure("worst_worker_test_accuracy", "worst worker", ".4f", _worst_accuracy),
        measure("test_loss", "loss", ".4f", lambda s: s.test_loss),
        measure("samples_per_second", "samples/s", ",.0f", lambda s: s.samples_per_second),
        measure("train_seconds", "training time (s)", ",.1f", lambda s: s.train_seconds),
        measure(
            "time_to_target_seconds",
            f"time to {goal} (s)",
            ",.1f",
            lambda s: s.time_to_target_seconds,
        ),
        measure("sent_bytes_per_sample", "bytes per sample", ",.0f", _bytes_per_sample),
        measure("staleness_versions", "staleness (versions)", ".2f", lambda s: s.staleness_mean),
        measure("consensus_distance", "consensus distance", ".3g", lambda s: s.consensus_distance),
        measure(
            "peak_memory_megabytes", "peak memory (MB)", ",.0f", lambda s: s.peak_rss_bytes / 1e6
        ),
    ]


def _worst_accuracy(summary: RunSummary) -> float | None:
    known = (each for each in summary.test_accuracy_per_worker if each is not None)
    return min(known, default=None)


def _bytes_per_sample(summary: RunSummary) -> float | None:
    return summary.sent_bytes / summary.samples_total if summary.samples_total else None


def _measured(measure: Measure, group: Group) -> Cell:
    known = [measure.value(run.summary) for run in group.runs if run.summary is not None]
    values = [value for value in known if value is not None]
    if not values:
        return Cell(UNKNOWN)
    mean, some = statistics.fmean(values), _some(len(values), len(known))
    if len(values) == 1:
        return Cell(f"{mean:{measure.form}}{some}", mean)
    spread = statistics.stdev(values) if all(map(math.isfinite, values)) else math.nan
    return Cell(f"{mean:{measure.form}} ± {spread:{measure.form}}{some}", mean, spread)


def _some(known: int, runs: int) -> str:
    """Says where a mean leaves out runs, such as those that missed the target."""
    return "" if known == runs else f" ({known} of {runs} runs)"


def _setting(key: str, groups: Sequence[Group]) -> Table:
    values = [group.runs[0].settings.get(key) for group in groups]
    numeric = all(type(value) in (int, float, type(None)) for value in values)
    cells = [
        Cell(UNKNOWN if value is None else str(value), value if numeric else None)
        for value in values
    ]
    return Table((Column(f"config.{key}", key, numeric),), tuple((cell,) for cell in cells))
