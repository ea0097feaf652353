"""The figure and the tables of mfu, from results.json alone.

python -m experiments.mfu.plot experiments/mfu/results
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.report import BAR_LOOKS, INK, Pictures, Results, markdown, redraw, with_spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SCHEDULES = ("interleaved", "1:1", "1:2", "1:3")
_PARTITIONS = {"layer": "layer by layer", "model": "whole model"}
_CAUSES = ("forward", "turn", "backward", "update", "communication", "waiting", "data")
_SHADES = ("#f2f2f2", "#d0d0d0", "#56b4e9", "#0b4f7a", "#e69f00", "#cc79a7", "#1a1a1a")


def draw(results: Results, figure: Figure) -> None:
    """MFU of every network by schedule, and a step of every method by cause."""
    cases, methods = results["cases"], results["methods"]
    panels = figure.subplots(1, len(cases) + bool(methods), squeeze=False)[0]
    for axes, (name, case) in zip(panels, cases.items(), strict=False):
        _draw_case(axes, name, case)
    if methods:
        _draw_methods(panels[-1], methods)


def _draw_case(axes: Axes, name: str, case: Results) -> None:
    for offset, (partition, label) in enumerate(_PARTITIONS.items()):
        rows = [case["schedules"][f"{schedule} {partition}"] for schedule in _SCHEDULES]
        heights = [100 * (row["mfu"] or 0.0) for row in rows]
        places = [index + 0.4 * offset for index in range(len(_SCHEDULES))]
        axes.bar(places, heights, width=0.38, label=label, linewidth=0.9, **BAR_LOOKS[offset + 1])
    axes.set_xticks([index + 0.2 for index in range(len(_SCHEDULES))], _SCHEDULES, fontsize=6)
    axes.set(title=f"{name}, batch {case['batch_size']}", ylabel="MFU (%)")
    axes.set_ylim(top=1.2 * axes.get_ylim()[1])  # for the legend
    axes.legend(loc="upper left", fontsize=7)


def _draw_methods(axes: Axes, methods: Results) -> None:
    floor = [0.0] * len(methods)
    for cause, shade in zip(_CAUSES, _SHADES, strict=True):
        times = [1e3 * each[cause] for each in methods.values()]
        axes.bar(range(len(methods)), times, 0.6, floor, label=cause, color=shade, edgecolor=INK)
        floor = [below + time for below, time in zip(floor, times, strict=True)]
    axes.set_xticks(range(len(methods)), list(methods), fontsize=6)
    axes.set(title="digits, 4 workers", ylabel="ms of all threads, a step of a worker")
    axes.legend(fontsize=7)


def table(results: Results) -> str:
    """Passes, thread ratios, methods."""
    parts = [_passes(results), _ratios(results)]
    if results["methods"]:
        parts.append(_methods(results["methods"]))
    return "\n\n".join(parts)


def brief(results: Results) -> str:
    """The ratio of passes of each network, and the MFU of each method."""
    ratios = [f"{name} {case['beta_alone']:.2f}" for name, case in results["cases"].items()]
    shares = [f"{name} {_share(each['mfu'])}" for name, each in results["methods"].items()]
    words = f"Backward over forward pass: {', '.join(ratios)}."
    return words + (f" MFU of four workers: {', '.join(shares)}." if shares else "")


def _passes(results: Results) -> str:
    header = (
        "network",
        "forward pass (ms)",
        "backward pass (ms)",
        "backward / forward",
        "beside each other",
        "GFLOP a step",
    )
    rows = []
    for name, case in results["cases"].items():
        alone = case["passes_alone"]
        beside, flops = case["backward_over_forward"], case["step_flops"]
        rows.append(
            [
                f"{name}, {case['compute_dtype']}, batch {case['batch_size']}",
                f"{alone['forward_seconds'] * 1e3:.2f}",
                f"{alone['backward_seconds'] * 1e3:.2f}",
                f"{case['beta_alone']:.2f}",
                "not known" if beside is None else f"{beside:.2f}",
                "not known" if flops is None else f"{flops / 1e9:,.2f}",
            ]
        )
    return markdown(header, rows)


def _ratios(results: Results) -> str:
    header = ("network, updates", "schedule", "samples/s", "over interleaved", "MFU")
    rows = []
    for name, case in results["cases"].items():
        for partition, label in _PARTITIONS.items():
            for schedule in _SCHEDULES:
                row = case["schedules"][f"{schedule} {partition}"]
                numbers = [f"{row['samples_per_second']:,.0f}", f"{row['over_interleaved']:.2f}"]
                rows.append([f"{name}, {label}", schedule, *numbers, _share(row["mfu"])])
    return markdown(header, rows)


def _methods(methods: Results) -> str:
    causes = [f"{cause} (ms)" for cause in _CAUSES]
    header = ("method, digits, 4 workers", "MFU", "samples/s", *causes)
    rows = []
    for name, each in methods.items():
        mfu = "not known" if each["mfu"] is None else with_spread(each, "mfu", ".2%")
        times = [f"{each[cause] * 1e3:.2f}" for cause in _CAUSES]
        rows.append([name, mfu, with_spread(each, "samples_per_second", ",.0f"), *times])
    return markdown(header, rows)


def _share(mfu: float | None) -> str:
    return "not known" if mfu is None else f"{mfu:.1%}"


PICTURES = Pictures(Path(__file__).parent, draw, table)

if __name__ == "__main__":
    sys.exit(redraw(PICTURES))
