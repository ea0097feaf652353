"""The figure and the table of the algorithms, from results.json alone.

python -m experiments.algorithms.plot experiments/algorithms/results
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.report import INK, Pictures, Results, markdown, redraw

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
# Labels go to where neighbours leave room; (right, up) in points.
_MARKS = {True: ("o", INK), False: ("s", "white")}


def draw(results: Results, figure: Figure) -> None:
    """Accuracy against speed, a mark for each algorithm with its spread over seeds."""
    axes = figure.subplots()
    for name, label in METHODS.items():
        each = results["methods"][name]
        marker, face = _MARKS[name in _ASYNCHRONOUS]
        axes.errorbar(
            each["samples_per_second"] / 1e3,
            each["test_accuracy"],
            xerr=(each["spread"]["samples_per_second"] or 0) / 1e3,
            yerr=each["spread"]["test_accuracy"] or 0,
            marker=marker,
            color=INK,
            markerfacecolor=face,
            linewidth=0.8,
            capsize=2,
        )
        axes.annotate(
            label,
            (each["samples_per_second"] / 1e3, each["test_accuracy"]),
            xytext=(5, 4),
            textcoords="offset points",
            fontsize=8,
        )
    axes.set_xlabel("1,000 samples per second, all workers")
    axes.set_ylabel("test accuracy of the mean model")
    seeds = len(results["seeds"])
    axes.set_title(
        f"{results['workers']} workers, digits, mean and standard deviation of {seeds} seeds; "
        "filled: asynchronous, hollow: synchronous"
    )


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
                _number(each, "test_accuracy", ".4f"),
                _number(each, "worst_worker_accuracy", ".4f"),
                _number(each, "samples_per_second", ",.0f"),
                _number(each, "time_to_target_seconds", ".1f"),
                f"{each['sent_bytes_per_sample']:,.0f}",
                f"{each['staleness_mean']:.2f}",
                f"{each['consensus_distance']:.3f}",
            )
        )
    return markdown(header, rows)


def _number(each: dict[str, Any], key: str, form: str) -> str:
    if each[key] is None:
        return "never"
    mean = format(each[key], form)
    spread = each["spread"][key]
    return mean if spread is None else f"{mean} ± {format(spread, form)}"


PICTURES = Pictures(Path(__file__).parent, draw, table)

if __name__ == "__main__":
    sys.exit(redraw(PICTURES))
