"""The figure and the table of throughput, from results.json alone.

python -m experiments.throughput.plot experiments/throughput/results
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.report import BAR_LOOKS, INK, Pictures, Results, markdown, median_ratio, redraw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LABELS = {
    "fused": "fused, no communication",
    "local": "local, no communication",
    "push_sum_host": "LayUp push-sum, host",
    "pairwise_mpi4jax": "LayUp pairwise, mpi4jax",
    "ddp_segments": "DDP, segment by segment",
    "ddp_model": "DDP, one sum a step",
    "torch_local": "PyTorch, no communication",
    "torch_ddp": "PyTorch DDP, gloo",
    "decent_dp": "Decent-DP, one-peer exponential",
    "jax_distributed": "jax.distributed, gloo",
}
_DEFAULT = "pairwise_mpi4jax"
_SUFFIXES = ("", "_straggler")
_HEIGHT = 0.36


def draw(results: Results, figure: Figure) -> None:
    """Bars of medians, with a line from the slowest to the fastest round and a dot for each."""
    axes = figure.subplots()
    names = [name for name in _LABELS if name in results["rounds"]]
    delay = f"one worker delayed {1e3 * results['delay_seconds']:.0f} ms a step"
    for group, (suffix, label) in enumerate(zip(_SUFFIXES, ("all alike", delay), strict=True)):
        for index, name in enumerate(names):
            if name + suffix not in results["rounds"]:
                continue
            speeds = np.array(_speeds(results, name + suffix)) / 1e3
            at = index + (group - 0.5) * _HEIGHT
            median = np.median(speeds)
            look = BAR_LOOKS[group + 1]
            axes.barh(at, median, _HEIGHT * 0.92, label=None if index else label, **look)
            axes.plot([speeds.min(), speeds.max()], [at, at], color=INK, linewidth=1.2)
            axes.plot(speeds, np.full(len(speeds), at), "o", color=INK, markersize=2.5)
            axes.annotate(
                f"{median:.1f}",
                (speeds.max(), at),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
    axes.set_yticks(range(len(names)), [_LABELS[name] for name in names])
    axes.invert_yaxis()
    axes.grid(axis="x")
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("1,000 samples per second, all workers")
    axes.set_title(f"{results['workers']} workers, convolutional network on digits, batch 32")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def table(results: Results) -> str:
    """One row for each method."""
    header = (
        "method",
        "samples/s",
        "over local",
        "over fused",
        "LayUp over it",
        "samples/s, straggler",
        "over local",
        "over fused",
        "LayUp over it",
        "memory over local",
    )
    rows = []
    for name, label in _LABELS.items():
        if name not in results["rounds"]:
            continue
        cells = [cell for suffix in _SUFFIXES for cell in _compared(results, name, suffix)]
        memory = results["peak_rss_over_local"].get(name)
        rows.append((label, *cells, "" if memory is None else f"{memory:.2f}"))
    return "\n\n".join([markdown(header, rows), brief(results)])


def brief(results: Results) -> str:
    """What the rows do not say: DDP at its best in each round, and beside PyTorch's own."""
    over = "LayUp over DDP, in each round the faster of DDP segment by segment and in one sum"
    ratio, delayed = results["layup_over_ddp"], results["layup_over_ddp_straggler"]
    words = f"{over}: {ratio:.2f}, with the straggler {delayed:.2f}. "
    words += f"DDP over no communication (fused): {results['ddp_efficiency']:.2f}"
    if results["torch_ddp_efficiency"] is not None:
        words += f", PyTorch's over its own: {results['torch_ddp_efficiency']:.2f}"
    versions = [f"{name} {version}" for name, version in results["rival_versions"].items()]
    rounds = f"{len(results['rounds']['fused'])} rounds, {results['run_seconds']:g} s a run"
    return ", ".join([f"{words}. {rounds}. Rivals: jax.distributed", *versions]) + "."


def _compared(results: Results, name: str, suffix: str) -> list[str]:
    """Median speed, over local and fused for our own methods, and LayUp's over it."""
    if name + suffix not in results["rounds"]:
        return [""] * 4
    own = _speeds(results, name + suffix)
    ours = results["rounds"][name][0]["segments"] is not None
    ratios = [
        f"{median_ratio(own, _speeds(results, below + suffix)):.2f}" if ours and is_new else ""
        for below, is_new in (("local", name not in ("fused", "local")), ("fused", name != "fused"))
    ]
    better = median_ratio(_speeds(results, _DEFAULT + suffix), own)
    return [f"{np.median(own):,.0f}", *ratios, "" if name == _DEFAULT else f"{better:.2f}"]


def _speeds(results: Results, name: str) -> list[float]:
    return [each["samples_per_second"] for each in results["rounds"][name]]


PICTURES = Pictures(Path(__file__).parent, draw, table)

if __name__ == "__main__":
    sys.exit(redraw(PICTURES))
