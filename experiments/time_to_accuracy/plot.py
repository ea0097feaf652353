"""The figure and the table of time_to_accuracy, from results.json alone.

python -m experiments.time_to_accuracy.plot experiments/time_to_accuracy/results
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.algorithms.plot import METHODS
from experiments.report import INK, Pictures, Results, markdown, redraw, with_spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LABELS = {
    "digits_resnet": "ResNet-18, digits",
    "stdlib_gpt_small": "small GPT, Python's library",
    "stdlib_gpt": "GPT, Python's library",
}
_WIDE = 10.0
_JUDGED = {
    "digits_resnet": "test_accuracy",
    "stdlib_gpt_small": "test_loss",
    "stdlib_gpt": "test_loss",
}


def draw(results: Results, figure: Figure) -> None:
    """For each model the test loss of every algorithm: its seeds, and their mean."""
    cases = results["cases"]
    measured = {name for case in cases.values() for name in case["methods"]}
    names = [name for name in METHODS if name in measured]
    subplots = figure.subplots(1, len(cases), squeeze=False, sharey=True)[0]
    for axes, (name, case) in zip(subplots, cases.items(), strict=True):
        _draw_losses(axes, case["methods"], names)
        axes.set_title(f"{_LABELS[name]}\n{case['steps']} steps of {results['workers']} workers")
        axes.set_xlabel("test loss of the mean model\n(circles: seeds; bar: their mean)")
    subplots[0].set_yticks(range(len(names)), [METHODS[name] for name in names], fontsize=8)
    subplots[0].invert_yaxis()


def _draw_losses(axes: Axes, methods: Results, names: Sequence[str]) -> None:
    means = [each["test_loss"] for each in methods.values()]
    if max(means) > _WIDE * min(means):  # one that diverges would leave the others no room
        axes.set_xscale("log")
    for name, each in methods.items():
        row = names.index(name)
        losses = [run["test_loss"] for run in each["runs"]]
        axes.plot(losses, [row] * len(losses), "o", color=INK, markerfacecolor="white")
        axes.plot([each["test_loss"]], [row], "|", color=INK, markersize=14, markeredgewidth=2)
    axes.grid(axis="x")


def table(results: Results) -> str:
    """One row for each model and algorithm: mean and standard deviation over seeds."""
    header = (
        "model",
        "algorithm",
        "seeds",
        "test loss",
        "accuracy",
        "time to target (s)",
        "samples/s",
    )
    rows = [
        (
            f"{_LABELS[name]} (target {case['target']:g})",
            METHODS[method],
            f"{len(each['runs'])}",
            with_spread(each, "test_loss", ".4f"),
            with_spread(each, "test_accuracy", ".4f"),
            with_spread(each, "time_to_target_seconds", ".1f"),
            with_spread(each, "samples_per_second", ",.0f"),
        )
        for name, case in results["cases"].items()
        for method, each in case["methods"].items()
    ]
    return "\n\n".join([markdown(header, rows), *_compared(results)])


def brief(results: Results) -> str:
    """LayUp and DDP on each model, and their ratio."""
    parts = []
    for name, case in results["cases"].items():
        numbers = [
            f"{METHODS[method]} {with_spread(case['methods'][method], _JUDGED[name], '.4f')}"
            for method in ("layup", "ddp")
            if method in case["methods"]
        ]
        parts.append(f"{_LABELS[name]}, {_JUDGED[name].replace('_', ' ')}: {', '.join(numbers)}.")
    return " ".join([*parts, *_compared(results)])


def _compared(results: Results) -> list[str]:
    """Of each model that is judged by its loss: that of LayUp over that of DDP."""
    losses = {
        name: [case["methods"][method]["test_loss"] for method in ("layup", "ddp")]
        for name, case in results["cases"].items()
        if _JUDGED[name] == "test_loss" and {"layup", "ddp"} <= case["methods"].keys()
    }
    if not losses:
        return []
    ratios = [f"{layup / ddp:.4f} ({_LABELS[name]})" for name, (layup, ddp) in losses.items()]
    return [f"Test loss of LayUp over that of DDP, means: {', '.join(ratios)}."]


PICTURES = Pictures(Path(__file__).parent, draw, table)

if __name__ == "__main__":
    sys.exit(redraw(PICTURES))
