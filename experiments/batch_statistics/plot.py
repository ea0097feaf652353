"""The figure and the table of batch statistics, from results.json alone.

python -m experiments.batch_statistics.plot experiments/batch_statistics/results
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.report import INK, Pictures, Results, markdown, redraw, with_spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PANELS = (
    ("test_loss", "test loss of the mean model"),
    ("test_accuracy", "test accuracy of the mean model"),
)


def draw(results: Results, figure: Figure) -> None:
    """Loss and accuracy, a row for each case: every seed, and their mean."""
    cases = results["cases"]
    panels = figure.subplots(1, len(_PANELS), sharey=True)
    for axes, (key, label) in zip(panels, _PANELS, strict=True):
        for row, each in enumerate(cases.values()):
            values = [run[key] for run in each["runs"]]
            axes.plot(values, [row] * len(values), "o", color=INK, markerfacecolor="white")
            axes.plot([each[key]], [row], "|", color=INK, markersize=18, markeredgewidth=2)
        axes.set_xlabel(label)
        axes.grid(axis="x")
    panels[0].set_yticks(range(len(cases)), list(cases))
    panels[0].invert_yaxis()
    panels[0].set_title(f"ResNet-18, digits, {results['workers']} workers")
    panels[1].set_title("circles: seeds; bar: their mean")


def table(results: Results) -> str:
    """One row for each case: mean and standard deviation over seeds."""
    header = ("algorithm, statistics", "test loss", "accuracy", "accuracy, workers' own models")
    rows = [
        (
            name,
            with_spread(each, "test_loss", ".4f"),
            with_spread(each, "test_accuracy", ".4f"),
            with_spread(each, "worker_accuracy", ".4f"),
        )
        for name, each in results["cases"].items()
    ]
    return markdown(header, rows)


PICTURES = Pictures(Path(__file__).parent, draw, table)

if __name__ == "__main__":
    sys.exit(redraw(PICTURES))
