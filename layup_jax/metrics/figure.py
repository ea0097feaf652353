"""The figure of a run: loss and test accuracy of every worker against seconds of training.

    path = draw_figure(RunFolder.open("runs/demo"))      # runs/demo/figure.png

Workers differ by dashes and markers as well as by colour, so that it reads in black and white.
This module alone knows matplotlib, and draws without pyplot: no window, no global state.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from layup_jax.config import RunConfig
from layup_jax.metrics.folder import RunFolder
from layup_jax.metrics.records import RunSummary
from layup_jax.metrics.series import WorkerSeries, ended_early, read_series, smoothed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_Corner: TypeAlias = Literal["upper right", "lower right"]
SIZE_INCHES = (10.0, 4.4)
DOTS_PER_INCH = 150
_INK, _FAINT = "#1a1a1a", "#8c8c8c"
# Okabe and Ito's colours, told apart with any eyes.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)), (0, (8, 2)))
_MARKERS = ("o", "s", "^", "D", "v", "P")
_MOST_NAMED_WORKERS = 8
_MARKERS_PER_LINE = 8
_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _FAINT,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "legend.frameon": False,
    "legend.fontsize": 9,
}


def draw_figure(folder: RunFolder) -> Path:
    """Draws the metrics that are there, of a run that has ended in whatever way.

    Args:
      folder: of the run; config.json and metrics are read, summary.json if it is there.

    Returns:
      The path of figure.png.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    config, summary, workers = folder.read_config(), folder.read_summary(), read_series(folder)
    with rc_context(_STYLE):
        figure = Figure(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, layout="constrained")
        loss_axes, accuracy_axes = figure.subplots(1, 2)
        figure.suptitle(_title(config, summary, len(workers)), fontsize=12, fontweight="bold")
        _draw_loss(loss_axes, workers)
        _draw_accuracy(accuracy_axes, workers)
        if config.evaluation.target is not None:
            _draw_target(accuracy_axes, config.evaluation.target, summary)
        _finish(loss_axes, "Training loss", "loss of one batch, smoothed", "upper right")
        _finish(accuracy_axes, "Test accuracy", "accuracy (%)", "lower right")
        figure.savefig(folder.figure)
    return folder.figure


def _title(config: RunConfig, summary: RunSummary | None, workers: int) -> str:
    algorithm, status = config.strategy.name, ""
    if summary is not None:
        workers = summary.workers
        algorithm += "" if summary.mixing == "none" else f" ({summary.mixing.replace('_', '-')})"
        status = "" if summary.status == "finished" else f" ({summary.status})"
    noun = "worker" if workers == 1 else "workers"
    noun += ", emulated accelerator" if config.emulation.is_set else ""
    noun += ", artificial delays" if config.delay.describe() else ""
    return f"{algorithm}, {workers} {noun}: {config.model.name} on {config.data.name}{status}"


def _draw_loss(axes: Axes, workers: tuple[WorkerSeries, ...]) -> None:
    named = len(workers) <= _MOST_NAMED_WORKERS
    for index, worker in enumerate(workers):
        look, mean = _look(worker.rank, named), smoothed(worker.loss)
        every = max(1, len(mean) // _MARKERS_PER_LINE)
        first = index * every // len(workers)  # markers of different workers side by side
        if named:
            axes.plot(worker.loss_seconds, worker.loss, color=look["color"], lw=0.6, alpha=0.25)
        label = _label(worker, workers)
        axes.plot(worker.loss_seconds, mean, label=label, markevery=(first, every), **look)
        if mean.size and ended_early(worker, workers):
            axes.plot(worker.loss_seconds[-1], mean[-1], "x", color=_INK, markersize=9, zorder=5)
    losses = np.concatenate([np.empty(0), *(worker.loss for worker in workers)])
    if np.isfinite(losses).any() and np.nanmin(losses) > 0:
        _use_logarithm(axes)


def _use_logarithm(axes: Axes) -> None:
    from matplotlib.ticker import LogFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.5)))


def _draw_accuracy(axes: Axes, workers: tuple[WorkerSeries, ...]) -> None:
    for worker in workers:
        look = _look(worker.rank, len(workers) <= _MOST_NAMED_WORKERS)
        axes.plot(worker.accuracy_seconds, 100 * worker.accuracy, **look)
    for worker in workers:
        known = np.isfinite(worker.mean_accuracy)
        if known.any():
            seconds, accuracy = worker.accuracy_seconds[known], 100 * worker.mean_accuracy[known]
            look = {"color": _INK, "linewidth": 2.6, "markersize": 4}
            axes.plot(seconds, accuracy, marker=".", label="mean model", zorder=4, **look)


def _draw_target(axes: Axes, target: float, summary: RunSummary | None) -> None:
    percent = 100 * target
    axes.axhline(percent, color=_INK, lw=1.1, linestyle=(0, (6, 3)), label=f"target {percent:g} %")
    seconds = None if summary is None else summary.time_to_target_seconds
    if seconds is not None:
        look: dict[str, Any] = {"color": "white", "markeredgecolor": _INK, "linestyle": "none"}
        label = f"reached after {seconds:.1f} s"
        axes.plot(seconds, percent, marker="o", markersize=8, label=label, zorder=6, **look)


def _finish(axes: Axes, title: str, unit: str, corner: _Corner) -> None:
    axes.set(title=title, xlabel="training time (s)", ylabel=unit)
    if not np.isfinite(axes.dataLim.intervalx).all():  # the target line has no extent in time
        axes.text(0.5, 0.4, "nothing measured", transform=axes.transAxes, ha="center")
    axes.set_xlim(left=0)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc=corner, handlelength=3.2)


def _look(rank: int, named: bool) -> dict[str, Any]:
    """Colour, dashes and marker of a worker; one thin grey for all where they are too many."""
    if not named:
        return {"color": _FAINT, "linewidth": 0.7}
    return {
        "color": COLORS[rank % len(COLORS)],
        "linestyle": _DASHES[rank % len(_DASHES)],
        "marker": _MARKERS[rank % len(_MARKERS)],
        "markersize": 4,
        "linewidth": 1.4,
    }


def _label(worker: WorkerSeries, workers: tuple[WorkerSeries, ...]) -> str | None:
    if len(workers) > _MOST_NAMED_WORKERS:
        return f"{len(workers)} workers" if worker is workers[0] else None
    early = f", until {worker.end_seconds:.1f} s" if ended_early(worker, workers) else ""
    return f"worker {worker.rank}{early}"
