"""The table at the end of a run.

print_summary(folder.read_summary(), folder.figure)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from layup_jax.metrics.console import open_console
from layup_jax.metrics.records import RunSummary

if TYPE_CHECKING:
    from rich.console import Console

_MEGABYTE = 1e6
_GIGA = 1e9


def print_summary(
    summary: RunSummary, figure_path: Path | None, *, console: Console | None = None
) -> None:
    """Prints a table of two columns, and where the figure is.

    Args:
      summary: of the run.
      figure_path: of figure.png; None if there is none.
      console: of rich; None: what `open_console` gives.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console = console or open_console()
    table = Table(box=box.SIMPLE_HEAD, show_header=False, title=_title(summary), title_style="bold")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _rows(summary):
        table.add_row(name, Text(value))
    console.print(table)
    if figure_path is not None:
        console.print(f"figure: {figure_path}", markup=False, highlight=False, soft_wrap=True)


def _title(summary: RunSummary) -> str:
    where = f" on {summary.hosts} hosts" if summary.hosts > 1 else ""
    where += ", emulated accelerator" if summary.emulated else ""
    return f"{summary.algorithm}, {_count(summary.workers, 'worker')}{where}: {summary.status}"


def _rows(summary: RunSummary) -> Iterator[tuple[str, str]]:
    if summary.failure is not None:
        yield "failure", summary.failure
    yield "test accuracy, mean model", _optional(summary.test_accuracy, "{:.4f}")
    yield "test accuracy, workers", _range(summary.test_accuracy_per_worker)
    if summary.target is not None:
        yield f"time to accuracy {summary.target:g}", _time_to_target(summary)
    yield "test loss, mean model", _loss(summary.test_loss)
    yield (
        "training time",
        f"{summary.train_seconds:.1f} s, with evaluation {summary.wall_seconds:.1f} s",
    )
    if summary.delays:
        yield "artificial delays", summary.delays
    yield "throughput", f"{summary.samples_per_second:,.0f} samples/s"
    if summary.step_flops is not None:
        yield "MFU", _mfu(summary)
    if summary.time_split is not None:
        yield "a step of a worker", _spent(summary.time_split)
    yield "steps, samples of all", f"{summary.steps_total:,}, {summary.samples_total:,}"
    yield "partition", summary.partition
    yield "mixing", f"{summary.mixing} over {summary.data_plane}"
    yield "messages", f"{summary.messages_sent:,}, {summary.sent_bytes / _MEGABYTE:,.1f} MB"
    yield "mean staleness", f"{summary.staleness_mean:.2f} versions"
    yield "distance to mean model", _optional(summary.consensus_distance, "{:.3g}")
    if summary.push_sum_weight_error is not None and summary.mixing == "push_sum":
        yield "push-sum weight error", f"{summary.push_sum_weight_error:.1e}"
    yield "peak memory of a worker", f"{summary.peak_rss_bytes / _MEGABYTE:,.0f} MB"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _optional(value: float | None, form: str) -> str:
    return "not measured" if value is None else form.format(value)


def _loss(value: float | None) -> str:
    """In bits too: of a text read byte by byte, those are bits per byte."""
    return "not measured" if value is None else f"{value:.4f} ({value / math.log(2):.4f} bits)"


def _range(accuracies: tuple[float | None, ...]) -> str:
    known = [each for each in accuracies if each is not None]
    if not known:
        return "not measured"
    return f"{min(known):.4f} to {max(known):.4f}"


def _mfu(summary: RunSummary) -> str:
    if summary.mfu is None or summary.peak_flops_per_second is None:
        return "not known on this hardware"
    peak = summary.peak_flops_per_second * summary.workers / _GIGA
    return f"{summary.mfu:.1%} of {peak:,.0f} GFLOP/s"


def _spent(split: Mapping[str, float]) -> str:
    """Causes with a time, in milliseconds."""
    times = [f"{cause} {_milliseconds(seconds)}" for cause, seconds in split.items() if seconds > 0]
    return f"{', '.join(times)} ms"


def _milliseconds(seconds: float) -> str:
    """Two digits, or all before the point."""
    return f"{seconds * 1e3:.0f}" if seconds >= 0.01 else f"{seconds * 1e3:.2g}"


def _time_to_target(summary: RunSummary) -> str:
    seconds = summary.time_to_target_seconds
    return "not reached" if seconds is None else f"{seconds:.1f} s"
