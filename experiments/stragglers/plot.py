"""The figure and the table of slow workers and late messages, from results.json alone.

python -m experiments.stragglers.plot experiments/stragglers/results
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.emulated import LABELS, TITLE
from experiments.report import INK, Pictures, Results, markdown, redraw

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METHODS = (
    "local",
    "layup",
    "pd_asgd",
    "a2cid2",
    "ad_psgd",
    "gosgd",
    "co2",
    "local_sgd",
    "slowmo",
    "ddp",
)
SLOWDOWNS = (1, 4, 8)
MESSAGE_SECONDS = (0.0, 0.2)
_MARKERS = "osD^vP*Xhd"
_DASHES = ("-", "--", "-.", ":")


def draw(results: Results, figure: Figure) -> None:
    """Speed over no communication without delays, against slowdown and against the delay of messages."""
    panels = figure.subplots(1, 2, sharey=True)
    _draw_lines(panels[0], results["slowdowns"])
    _draw_lines(panels[1], results["message_seconds"])
    panels[0].set(
        title=f"{TITLE}: one of four workers slow",
        xlabel="steps of one worker take so many times as long",
        ylabel="samples/s over no communication, no delay",
    )
    panels[1].set(
        title=f"{TITLE}: late messages",
        xlabel="mean delay of each message, exponential (s)",
    )
    for axes in panels:
        axes.set_ylim(bottom=0)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", fontsize=8)


def _draw_lines(axes: Axes, cases: Results) -> None:
    values = sorted(cases, key=float)
    axes.set_xticks([float(value) for value in values], values)
    for index, method in enumerate(_measured(cases)):
        axes.plot(
            [float(value) for value in values],
            [cases[value][method]["over_local"] for value in values],
            marker=_MARKERS[index],
            linestyle=_DASHES[index % len(_DASHES)],
            color=INK,
            markerfacecolor="white" if index % 2 else INK,
            linewidth=1,
            markersize=5,
            label=LABELS[method],
        )


def table(results: Results) -> str:
    """Two tables, one row for each method, and the four numbers."""
    slow = _table(results["slowdowns"], "{}x")
    late = _table(results["message_seconds"], "{} s")
    return f"One worker slow:\n\n{slow}\n\nLate messages:\n\n{late}\n\n{brief(results)}"


def _table(cases: Results, title: str) -> str:
    values = sorted(cases, key=float)
    header = ["method"]
    for value in values:
        header += [f"{title.format(value)}: over local", "s to 0.95", "accuracy"]
    rows = [[LABELS[method], *_cells(cases, values, method)] for method in _measured(cases)]
    return markdown(header, rows)


def _measured(cases: Results) -> list[str]:
    first = next(iter(cases.values()))
    return [method for method in METHODS if method in first]


def _cells(cases: Results, values: Sequence[str], method: str) -> list[str]:
    cells = []
    for value in values:
        each: dict[str, Any] = cases[value][method]
        seconds = each["time_to_target_seconds"]
        cells += [
            f"{each['over_local']:.2f}",
            "not reached" if seconds is None else f"{seconds:.1f}",
            f"{each['test_accuracy']:.4f}",
        ]
    return cells


def brief(results: Results) -> str:
    """The four numbers."""
    faster = results["layup_over_ddp_at_8x"]
    times = "an unknown number of" if faster is None else f"{faster:.1f}"
    loss = results["accuracy_loss"]
    return (
        "With an emulated accelerator. One worker 4 times slower: LayUp does "
        f"{results['layup_over_local']:.2f} of the samples a second that three workers and a quarter do "
        f"without communication, DDP {results['ddp_over_local']:.2f} of what four do; LayUp's accuracy "
        f"is {'lower' if loss > 0 else 'higher'} by {abs(loss):.4f} than without one. If it is 8 times "
        f"slower LayUp reaches the target {times} times as fast as DDP."
    )


PICTURES = Pictures(Path(__file__).parent, draw, table)

if __name__ == "__main__":
    sys.exit(redraw(PICTURES))
