"""The figure and the table of data_waiting, from results.json alone.

python -m experiments.data_waiting.plot experiments/data_waiting/results
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.report import BAR_LOOKS, Pictures, Results, markdown, redraw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LABELS = {"none": "no batch placed ahead", "two": "two placed ahead"}


def draw(results: Results, figure: Figure) -> None:
    """The wait of each case as a share of its step."""
    axes, cases = figure.subplots(), _cases(results)
    for index, (name, label) in enumerate(_LABELS.items()):
        shares = [100 * results[case][name]["data_share"] for case in cases]
        places = [position + (index - 0.5) * 0.4 for position in range(len(cases))]
        axes.bar(places, shares, 0.37, label=label, **BAR_LOOKS[index + 1])
    axes.set(title="Waiting for the next batch", ylabel="% of a step", xticks=range(len(cases)))
    axes.set_xticklabels(cases)
    axes.legend()


def table(results: Results) -> str:
    """One row for each case."""
    header = (
        "data",
        "step (ms)",
        "waiting for data (ms)",
        "share",
        "share, two ahead",
        "step, two ahead / none",
    )
    rows = []
    for name in _cases(results):
        none, two = results[name]["none"], results[name]["two"]
        rows.append(
            (
                name,
                f"{1e3 * none['step_seconds']:.2f}",
                f"{1e3 * none['data_seconds']:.3f}",
                f"**{none['data_share']:.1%}**",
                f"{two['data_share']:.1%}",
                f"{results[name]['two_over_none']:.2f}",
            )
        )
    return markdown(header, rows)


def _cases(results: Results) -> list[str]:
    return [name for name in results if name != "environment"]


PICTURES = Pictures(Path(__file__).parent, draw, table)

if __name__ == "__main__":
    sys.exit(redraw(PICTURES))
