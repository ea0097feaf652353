"""The figure and the table of step_overhead, from results.json alone.

python -m experiments.step_overhead.plot experiments/step_overhead/results
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.report import BAR_LOOKS, INK, Pictures, Results, markdown, redraw

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SERIES = (  # partition, binding, label
    ("layer", "bound", "layer by layer, one core"),
    ("layer", "unbound", "layer by layer, nothing bound"),
    ("auto", "bound", "partition auto, one core"),
)
_WIDTH = 0.26


def draw(results: Results, figure: Figure) -> None:
    """Ratios of step times with every round as a dot; beside it compile times."""
    cases = _cases(results)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _draw_ratios(left, results, cases)
    _draw_compile(right, results, cases)


def _draw_ratios(axes: Axes, results: Results, cases: list[str]) -> None:
    named = set()
    for position, name in enumerate(cases):
        rounds = results[name]["rounds"]
        there = [
            index
            for index, (spec, binding, _) in enumerate(_SERIES)
            if spec in rounds.get(binding, {})
        ]
        for place, index in enumerate(there):
            spec, binding, label = _SERIES[index]
            ratios = np.divide(rounds[binding][spec], rounds[binding]["model"])
            at = position + (place - (len(there) - 1) / 2) * _WIDTH
            once = None if label in named else label
            named.add(label)
            axes.bar(at, np.median(ratios), _WIDTH * 0.92, label=once, **BAR_LOOKS[index])
            jitter = np.linspace(-0.06, 0.06, len(ratios))
            axes.plot(at + jitter, ratios, ".", color=INK, markersize=3)
    axes.axhline(1.0, color=INK, linewidth=1.2, linestyle=(0, (5, 2)))
    axes.set(
        title="One step, over the fused step",
        ylabel="ratio of step times",
        xticks=range(len(cases)),
    )
    axes.set_xticklabels(cases)
    axes.margins(y=0.25)
    axes.legend(loc="upper left", ncols=1)


def _draw_compile(axes: Axes, results: Results, cases: list[str]) -> None:
    kinds = (("fused", "fused", 3), ("layerwise", "layer by layer", 0))
    for index, (kind, label, look) in enumerate(kinds):
        seconds = [results[name][f"compile_seconds_{kind}"] for name in cases]
        at = np.arange(len(cases)) + (index - 0.5) * 0.4
        axes.bar(at, seconds, 0.37, label=label, **BAR_LOOKS[look])
    axes.set(title="First step", ylabel="compile time (s)", xticks=range(len(cases)))
    axes.set_xticklabels(cases)
    axes.margins(y=0.25)
    axes.legend(loc="upper left")


def table(results: Results) -> str:
    """One row for each case."""
    header = (
        "case",
        "fused step (ms)",
        "layer / fused",
        "same, nothing bound",
        "auto / fused",
        "calls",
        "dispatch (ms)",
        "share of overhead",
        "compile layer / fused (s)",
    )
    rows = []
    for name in _cases(results):
        case = results[name]
        rows.append(
            (
                name,
                f"{1e3 * case['step_seconds_fused']:.2f}",
                f"**{case['layerwise_over_fused']:.2f}**",
                _number(case.get("layerwise_over_fused_unbound"), ".2f"),
                _number(case.get("auto_over_fused"), ".2f"),
                f"{case['jitted_calls']}",
                _number(case.get("dispatch_seconds"), ".2f", 1e3),
                _number(case.get("dispatch_share_of_overhead"), ".0%"),
                f"{case['compile_seconds_layerwise']:.1f} / {case['compile_seconds_fused']:.1f}",
            )
        )
    header, *rows = _without_empty_columns([header, *rows])
    notes = [
        f"`auto` chose for {name}: {results[name]['partition']}."
        for name in _cases(results)
        if "partition" in results[name]
    ]
    notes += [*_depths(results), *_memory(results)]
    return "\n\n".join([markdown(header, rows), *([" ".join(notes)] if notes else [])])


def _number(value: float | None, form: str, scale: float = 1.0) -> str:
    return "" if value is None else format(scale * value, form)


def _without_empty_columns(rows: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Of the rows, the first of which has the names, what is known of any case."""
    columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
    return list(zip(*columns, strict=True))


def brief(results: Results) -> str:
    """The ratios of steps, and what is known of deep networks and of memory."""
    ratios = [f"{name} {results[name]['layerwise_over_fused']:.2f}" for name in _cases(results)]
    where = results["environment"].get("device") or "core"
    notes = [
        f"Step times on one {where}: {', '.join(ratios)}.",
        *_depths(results),
        *_memory(results),
    ]
    return " ".join(notes)


def _depths(results: Results) -> list[str]:
    """Compilation of deep networks, a sentence for each."""
    return [
        f"{name}: compiling 48 blocks layer by layer over 12 blocks {case['compile_48_over_12']:.2f}, "
        f"over the fused step of 48 blocks {case['compile_layerwise_over_fused_48']:.2f} "
        f"({case['compile_seconds_layerwise_48']:.1f} s, {case['compile_seconds_fused_48']:.1f} s)."
        for name, case in results.items()
        if "compile_48_over_12" in case
    ]


def _memory(results: Results) -> list[str]:
    """Peak memory of steps, a sentence for each."""
    sentences = []
    for name, case in results.items():
        if "peak_memory_over_fused" not in case:
            continue
        counted = ""
        if "counted_memory_over_fused" in case:
            counted = f", by XLA's count {_memory_ratio(case, 'counted')}"
        sentences.append(
            f"{name}: peak memory of a step layer by layer over the fused step's "
            f"{_memory_ratio(case, 'peak')}{counted}."
        )
    return sentences


def _memory_ratio(case: Results, kind: str) -> str:
    layer, fused = (case[f"{kind}_memory_bytes_{each}"] / 1e6 for each in ("layerwise", "fused"))
    return f"{case[f'{kind}_memory_over_fused']:.2f} ({layer:,.0f} MB, {fused:,.0f} MB)"


def _cases(results: Results) -> list[str]:
    return [name for name in results if name != "environment"]


PICTURES = Pictures(Path(__file__).parent, draw, table)

if __name__ == "__main__":
    sys.exit(redraw(PICTURES))
