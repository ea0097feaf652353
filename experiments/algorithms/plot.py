"""The figure and the table of the algorithms, from results.json alone.

python -m experiments.algorithms.plot experiments/algorithms/results
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.report import INK, Pictures, Results, markdown, redraw, with_spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METHODS = {
    "layup": "LayUp, pairwise",
    "push_sum": "LayUp, push-sum",
    "a2cid2": "A2CiD2, ring",
    "gosgd": "GoSGD",
    "ad_psgd": "AD-PSGD, ring",
    "sgp": "SGP",
    "osgp": "overlap-SGP",
    "d_psgd": "D-PSGD, ring",
    "ddp": "DDP",
    "local_sgd": "LocalSGD",
    "post_local_sgd": "post-local SGD",
    "slowmo": "SlowMo",
    "co2": "CO2",
    "diloco": "DiLoCo",
    "streaming_diloco": "Streaming DiLoCo",
    "local": "no communication",
}
_ASYNCHRONOUS = ("layup", "push_sum", "a2cid2", "gosgd", "ad_psgd", "local")
_FACES = {True: INK, False: "white"}
_PANELS = (
    ("test_accuracy", 1.0, "test accuracy of the mean model"),
    ("samples_per_second", 1e3, "1,000 samples per second, all workers"),
)


def draw(results: Results, figure: Figure) -> None:
    """Accuracy and speed, a row for each algorithm, with the spread over seeds."""
    panels = figure.subplots(1, len(_PANELS), sharey=True)
    for axes, (key, unit, label) in zip(panels, _PANELS, strict=True):
        for row, name in enumerate(METHODS):
            each = results["methods"][name]
            axes.errorbar(
                each[key] / unit,
                row,
                xerr=(each["spread"][key] or 0) / unit,
                marker="o",
                color=INK,
                markerfacecolor=_FACES[name in _ASYNCHRONOUS],
                linewidth=0.9,
                capsize=2,
            )
        axes.set_xlabel(label)
        axes.grid(axis="x")
    panels[0].set_yticks(range(len(METHODS)), METHODS.values(), fontsize=8)
    panels[0].invert_yaxis()
    seeds = len(results["seeds"])
    panels[0].set_title(
        f"{results['workers']} workers, digits, mean and deviation of {seeds} seeds"
    )
    panels[1].set_title("filled: nobody waits; hollow: rounds of all")


def table(results: Results) -> str:
    """One row for each algorithm: mean and standard deviation over seeds."""
    header = (
        "algorithm",
        "accuracy",
        "worst worker",
        "samples/s",
        "time to 0.97 (s)",
        "bytes per sample",
        "staleness",
        "consensus distance",
    )
    rows = []
    for name, label in METHODS.items():
        each = results["methods"][name]
        rows.append(
            (
                label,
                with_spread(each, "test_accuracy", ".4f"),
                with_spread(each, "worst_worker_accuracy", ".4f"),
                with_spread(each, "samples_per_second", ",.0f"),
                with_spread(each, "time_to_target_seconds", ".1f"),
                f"{each['sent_bytes_per_sample']:,.0f}",
                f"{each['staleness_mean']:.2f}",
                f"{each['consensus_distance']:.3f}",
            )
        )
    return markdown(header, rows)


PICTURES = Pictures(Path(__file__).parent, draw, table)

if __name__ == "__main__":
    sys.exit(redraw(PICTURES))
