"""The figure and the table of throughput, from results.json alone.

python -m experiments.throughput.plot experiments/throughput/results
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.report import BAR_LOOKS, INK, Pictures, Results, markdown, redraw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LABELS = {
    "fused": "fused, no communication",
    "local": "local, no communication",
    "push_sum_host": "LayUp push-sum, host",
    "pairwise_mpi4jax": "LayUp pairwise, mpi4jax",
}
_WIDTH = 0.2


def draw(results: Results, figure: Figure) -> None:
    """Bars of medians, with a line from the slowest to the fastest round and a dot for each."""
    axes = figure.subplots()
    for index, (name, label) in enumerate(_LABELS.items()):
        for group, suffix in enumerate(("", "_straggler")):
            speeds = np.array(_speeds(results, name + suffix)) / 1e3
            at = group + (index - 1.5) * _WIDTH
            median = np.median(speeds)
            axes.bar(at, median, _WIDTH * 0.92, label=None if group else label, **BAR_LOOKS[index])
            axes.plot([at, at], [speeds.min(), speeds.max()], color=INK, linewidth=1.2)
            axes.plot(np.full(len(speeds), at), speeds, "o", color=INK, markersize=2.5)
            axes.annotate(
                f"{median:.1f}",
                (at, speeds.max()),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                fontsize=9,
            )
    delay = f"one worker delayed {1e3 * results['delay_seconds']:.0f} ms a step"
    axes.set_xticks([0, 1], ["all workers alike", delay])
    axes.set_ylabel("1,000 samples per second, all workers")
    axes.set_title(f"{results['workers']} workers, convolutional network on digits, batch 32")
    axes.margins(y=0.12)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def table(results: Results) -> str:
    """One row for each method."""
    header = (
        "method",
        "samples/s",
        "over local",
        "over fused",
        "samples/s, straggler",
        "over local",
        "over fused",
        "memory over local",
    )
    ratios = (
        "layup_over_local",
        "layup_over_fused",
        "layup_over_local_straggler",
        "layup_over_fused_straggler",
        "peak_rss_over_local",
    )
    rows = []
    for name, label in _LABELS.items():
        speeds = results["samples_per_second"]
        local, fused, slow_local, slow_fused, memory = (
            f"{results[key][name]:.2f}" if name in results[key] else "" for key in ratios
        )
        speed, slow = f"{speeds[name]:,.0f}", f"{speeds['straggler'][name]:,.0f}"
        rows.append((label, speed, local, fused, slow, slow_local, slow_fused, memory))
    return markdown(header, rows)


def _speeds(results: Results, name: str) -> list[float]:
    return [each["samples_per_second"] for each in results["rounds"][name]]


PICTURES = Pictures(Path(__file__).parent, draw, table)

if __name__ == "__main__":
    sys.exit(redraw(PICTURES))
