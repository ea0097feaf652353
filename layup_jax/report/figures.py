"""The figures of a comparison, interactive: lines with bands over workers, and bars.

    for figure in make_figures(comparison):      # of plotly, which this module alone knows
        figure.to_json()

Groups differ by dashes, markers and hatches as well as by colour, so that they read in black and
white. Ink, paper and grid are the page's: see page.js.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from layup_jax.errors import ReportError
from layup_jax.metrics import WAITING_CAUSES
from layup_jax.metrics.figure import COLORS
from layup_jax.report.comparison import Comparison, Group, Run
from layup_jax.report.curves import (
    Band,
    Curve,
    accuracy_by_samples,
    accuracy_by_seconds,
    loss_by_samples,
    loss_by_seconds,
    make_band,
)

if TYPE_CHECKING:
    from plotly.graph_objects import Bar, Figure, Scatter

_Curves: TypeAlias = Callable[[Run], Sequence[Curve]]
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
_MARKERS = ("circle", "square", "triangle-up", "diamond", "x", "cross", "star")
_HATCHES = ("", "/", "x", "-", ".", "\\", "|", "+")
_MARKERS_PER_LINE = 8
_HEIGHT = 330  # two rows fit on a page of paper
_EMULATED = "emulated accelerator"
_LAST_BIN = 64  # of `RunSummary.staleness_histogram`; holds what is above it too


class Text(NamedTuple):
    """What is written around a figure, units included."""

    title: str
    x: str
    y: str


def make_figures(comparison: Comparison) -> tuple[Figure, ...]:
    """All figures; one in which there is nothing to show says so.

    Raises:
      ReportError: plotly is not installed.
    """
    _check_plotly()
    seconds, samples = "training time (s)", "samples of all workers"
    accuracy, loss = "accuracy of workers (%)", "loss of workers, smoothed"
    return (
        _lines(
            Text("Test accuracy over time", seconds, accuracy),
            comparison,
            accuracy_by_seconds,
        ),
        _lines(
            Text("Test accuracy over samples", samples, accuracy),
            comparison,
            accuracy_by_samples,
        ),
        _loss(Text("Training loss over time", seconds, loss), comparison, loss_by_seconds),
        _loss(Text("Training loss over samples", samples, loss), comparison, loss_by_samples),
        _staleness(comparison),
        _waiting(comparison),
    )


def plotly_source() -> str:
    """The script that draws, as plotly brings it along.

    Raises:
      ReportError: plotly is not installed.
    """
    _check_plotly()
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


def _check_plotly() -> None:
    try:
        import plotly  # noqa: F401
    except ImportError as error:
        raise ReportError(
            "a report in .html needs plotly, which is not installed; run 'pip install plotly', or "
            "write a .md or .csv"
        ) from error


def _lines(text: Text, comparison: Comparison, curves: _Curves) -> Figure:
    traces = []
    for number, group in enumerate(comparison.groups):
        band = make_band([curves(run) for run in group.runs])
        traces += _band(number, group, band)
    figure = _figure(text, comparison, traces)
    figure.update_xaxes(rangemode="tozero")
    return figure


def _loss(text: Text, comparison: Comparison, curves: _Curves) -> Figure:
    figure = _lines(text, comparison, curves)
    traces: Any = figure.data
    if all(np.min(trace.y, initial=np.inf) > 0 for trace in traces):
        figure.update_yaxes(type="log")
    return figure


def _band(number: int, group: Group, band: Band) -> list[Scatter]:
    """The mean, and behind it the range; both answer to one entry of the legend."""
    from plotly.graph_objects import Scatter

    name, color = _escaped(group.label), COLORS[number % len(COLORS)]
    line = Scatter(
        x=band.x,
        y=band.mean,
        name=name,
        legendgroup=number,
        mode="lines+markers",
        line={"color": color, "dash": _DASHES[number % len(_DASHES)], "width": 2},
        marker={
            "symbol": _MARKERS[number % len(_MARKERS)],
            "size": 7,
            "maxdisplayed": _MARKERS_PER_LINE,
        },
    )
    area = Scatter(
        x=np.concatenate([band.x, band.x[::-1]]),
        y=np.concatenate([band.high, band.low[::-1]]),
        legendgroup=number,
        showlegend=False,
        hoverinfo="skip",
        mode="lines",
        line={"width": 0, "color": color},
        fill="toself",
        opacity=0.3,
    )
    return [area, line]


def _staleness(comparison: Comparison) -> Figure:
    text = Text(
        "How stale updates were", "versions between read and update", "share of updates (%)"
    )
    bars = []
    for number, group in enumerate(comparison.groups):
        counts = _stale_updates(group)
        if counts.any():
            ticks = [f"{i}+" if i == _LAST_BIN else str(i) for i in range(len(counts))]
            shares = 100 * counts / counts.sum()
            bars.append(_bar(number, group.label, x=ticks, y=shares))
    figure = _figure(text, comparison, bars)
    figure.update_xaxes(type="category")
    least = min((share for bar in bars for share in bar.y if share > 0), default=1)
    figure.update_yaxes(type="log", dtick=1, range=[math.floor(math.log10(least)), math.log10(150)])
    return figure


def _stale_updates(group: Group) -> np.ndarray:
    """How many updates were 0, 1, 2, ... versions stale, of all segments, workers and runs."""
    histograms = [
        counts for run in group.runs if run.summary for counts in run.summary.staleness_histogram
    ]
    total = np.zeros(max(map(len, histograms), default=0))
    for counts in histograms:
        total[: len(counts)] += counts
    return total


def _waiting(comparison: Comparison) -> Figure:
    text = Text("What threads wait for", "waiting (% of training time)", "")
    labels = [_escaped(group.label) for group in comparison.groups]
    bars = []
    for number, cause in enumerate(WAITING_CAUSES):
        shares = [_waiting_share(group, cause) for group in comparison.groups]
        if any(shares):
            words = cause.replace("_", " ")
            bars.append(_bar(number, words, x=shares, y=labels, orientation="h"))
    figure = _figure(text, comparison, bars)
    figure.update_layout(
        barmode="stack", height=_HEIGHT + 16 * len(labels), legend_traceorder="normal"
    )
    figure.update_yaxes(type="category", autorange="reversed")
    return figure


def _waiting_share(group: Group, cause: str) -> float:
    """Percent of a worker's training time, mean over the workers of all runs."""
    shares = [
        100 * worker.waiting_seconds.get(cause, 0.0) / worker.end_seconds
        for run in group.runs
        for worker in run.series
        if worker.end_seconds > 0
    ]
    return float(np.mean(shares)) if shares else 0.0


def _bar(number: int, name: str, **data: Any) -> Bar:
    from plotly.graph_objects import Bar

    color = COLORS[number % len(COLORS)]
    hatch = {"shape": _HATCHES[number % len(_HATCHES)], "size": 6}
    marker = {"color": color, "line": {"color": color, "width": 1}, "pattern": hatch}
    return Bar(name=_escaped(name), marker=marker, **data)


def _figure(text: Text, comparison: Comparison, traces: Sequence[Any]) -> Figure:
    from plotly.graph_objects import Figure, Layout

    title = f"{text.title}<br>{_EMULATED}" if comparison.emulated else text.title
    axis = {"ticks": "outside", "showline": True, "zeroline": False, "automargin": True}
    layout = Layout(
        template="none",
        title={"text": title, "x": 0, "xref": "paper", "font": {"size": 15}},
        height=_HEIGHT + 8 * len(comparison.groups),  # the legend grows
        margin={"l": 60, "r": 12, "t": 66, "b": 40},
        font={"family": "system-ui, sans-serif", "size": 13},
        xaxis={**axis, "title": {"text": text.x}, "showgrid": False},
        yaxis={**axis, "title": {"text": text.y}},
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0},
        hovermode="closest",
        showlegend=True,
    )
    figure = Figure(list(traces), layout)
    if not any(len(trace.x) for trace in traces):
        figure.add_annotation(
            text="nothing measured", x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False
        )
    return figure


def _escaped(text: str) -> str:
    """Words for plotly, which takes some tags of HTML."""
    return html.escape(text, quote=False)
