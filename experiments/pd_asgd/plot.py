"""The figure and the tables of PD-ASGD, from results.json alone.

python -m experiments.pd_asgd.plot experiments/pd_asgd/results
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.report import BAR_LOOKS, INK, Pictures, Results, markdown, redraw

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ORDER = ("interleaved", "1:1", "1:2", "1:3", "auto")
_PARTITIONS = {"layer": "layer by layer", "model": "whole model"}
_SPENT = ("forward", "backward", "full", "empty", "slot")
_DIGITS = ("method, digits, 300 steps", "test accuracy")
_TEXT = ("method, text, 600 steps", "bits per byte held out")
_SHOWN = 7  # versions in the histogram


def draw(results: Results, figure: Figure) -> None:
    """Speed over interleaved for each network, and how stale updates of the convolutional one are."""
    cases = results["cases"]
    panels = figure.subplots(1, len(cases) + 1)
    for axes, (name, case) in zip(panels, cases.items(), strict=False):
        _draw_speeds(axes, name, case)
    _draw_staleness(panels[-1], cases["conv"])


def _draw_speeds(axes: Axes, name: str, case: Results) -> None:
    for offset, (partition, label) in enumerate(_PARTITIONS.items()):
        heights = [
            case["schedules"][f"{schedule} {partition}"]["over_interleaved"] for schedule in _ORDER
        ]
        places = [index + 0.4 * offset for index in range(len(_ORDER))]
        axes.bar(places, heights, width=0.38, label=label, linewidth=0.9, **BAR_LOOKS[offset + 1])
    axes.axhline(1.0, color=INK, linewidth=0.8)
    axes.set_xticks([index + 0.2 for index in range(len(_ORDER))], _ORDER, fontsize=8)
    axes.set_ylabel("steps per second over interleaved")
    axes.set_xlabel("forward:backward threads")
    axes.set_title(f"{name}, batch {case['batch_size']}")
    axes.legend(loc="lower right")


def _draw_staleness(axes: Axes, case: Results) -> None:
    for offset, ratio in enumerate(("1:1", "1:2", "1:3")):
        rows = case["schedules"][f"{ratio} layer"]["staleness_histogram"]
        counts = [sum(row[versions] for row in rows) for versions in range(len(rows[0]))][:_SHOWN]
        total = sum(map(sum, rows))
        places = [versions + 0.27 * offset for versions in range(len(counts))]
        shares = [count / total for count in counts]
        axes.bar(places, shares, width=0.25, label=ratio, linewidth=0.9, **BAR_LOOKS[offset + 1])
    axes.set_xlabel("versions between read and update")
    axes.set_ylabel("share of updates")
    axes.set_title("staleness, conv, layer by layer")
    axes.legend()


def table(results: Results) -> str:
    """All schedules, then the bias, then accuracies."""
    return "\n\n".join(
        [
            _speeds(results),
            _summary(results),
            _profile(results["cases"]["conv"]),
            _bias(results),
            _trained(_DIGITS, results["accuracy"], "test_accuracy", ".4f"),
            _trained(_TEXT, results["text"], "test_loss", ".3f", math.log(2)),
        ]
    )


def brief(results: Results) -> str:
    """A line: speeds over interleaved, and the numbers of the convolutional network."""
    speeds = []
    for name, case in results["cases"].items():
        found = [(each, case["schedules"][f"{each} layer"]) for each in _ORDER[1:]]
        ratios = ", ".join(f"{each} {row['over_interleaved']:.2f}" for each, row in found)
        speeds.append(f"{name} {ratios}")
    return f"Steps per second over interleaved, layer by layer: {'; '.join(speeds)}. {_headline(results)}"


def _speeds(results: Results) -> str:
    header = (
        "network, updates",
        "schedule",
        "samples/s",
        "over interleaved",
        "MFU",
        "cores busy",
        "delay measured / predicted (ms)",
        "stale by (versions)",
    )
    rows = []
    for name, case in results["cases"].items():
        for partition, label in _PARTITIONS.items():
            for schedule in _ORDER:
                row = case["schedules"][f"{schedule} {partition}"]
                rows.append([f"{name}, {label}", schedule, *_numbers(row)])
    return markdown(header, rows)


def _numbers(row: Results) -> list[str]:
    numbers = [
        f"{row['samples_per_second']:,.0f}",
        f"{row['over_interleaved']:.2f}",
        f"{row['mfu']:.0%}",
        f"{row['cores_busy']:.2f}",
    ]
    if "beta" not in row:
        return [*numbers, "", ""]
    delay, predicted = row["update_delay_seconds"], row["update_delay_predicted_seconds"]
    return [
        *numbers,
        f"{delay * 1e3:.1f} / {predicted * 1e3:.1f} = {delay / predicted:.2f}",
        f"{row['staleness_versions_mean']:.2f}",
    ]


def _headline(results: Results) -> str:
    return (
        f"Convolutional network: 1:2 over interleaved "
        f"{results['decoupled_over_interleaved']:.2f}, delay of updates measured over predicted "
        f"{results['staleness_measured_over_predicted']:.2f}, auto over the best fixed ratio "
        f"{results['auto_over_best']:.2f}."
    )


def _summary(results: Results) -> str:
    lines = [_headline(results)]
    for name, case in results["cases"].items():
        lines.append(
            f"`{name}`: a backward pass takes {case['backward_over_forward']:.2f} times as long as a "
            f"forward pass beside it; best fixed ratio {case['best_ratio']}; auto: "
            f"{'; '.join(case['auto'])}."
        )
    return "\n".join(lines)


def _profile(case: Results) -> str:
    """Where the threads' time goes in a step of the convolutional network."""
    header = (
        "conv, layer by layer, ms a step",
        "step",
        "forward pass",
        "backward pass",
        "no place in the queue",
        "no tape",
        "at each other's segments",
        "processor time",
    )
    rows = []
    for ratio in _ORDER[1:]:
        row = case["schedules"][f"{ratio} layer"]
        seconds = [row["step_seconds"]]
        seconds += [row[f"{name}_seconds"] for name in _SPENT]
        seconds.append(row["step_seconds"] * row["cores_busy"])
        rows.append([ratio, *(f"{each * 1e3:.1f}" for each in seconds)])
    return markdown(header, rows)


def _bias(results: Results) -> str:
    header = ("learning rate", "bias, mean", "bias, max", "bound", "G", "α", "τ max", "accuracy")
    rows = [
        [
            f"{each['learning_rate']:g}",
            f"{each['bias_mean']:.3f}",
            f"{each['bias_max']:.3f}",
            "none" if each["bound"] is None else f"{each['bound']:.3f}",
            f"{each['gradient_norm_max']:.2f}",
            f"{each['lipschitz']:.1f}",
            f"{each['staleness_max']}",
            f"{each['test_accuracy']:.3f}",
        ]
        for each in results["bias"]
    ]
    return markdown(header, rows)


def _trained(
    header: tuple[str, str], each_of: Results, measure: str, form: str, unit: float = 1.0
) -> str:
    """Mean ± deviation over seeds of one number in units of `unit`, for each method."""
    rows = []
    for name, each in each_of.items():
        spread = "" if each["spread"] is None else f" ± {each['spread'] / unit:{form}}"
        rows.append(
            [name, f"{each[measure] / unit:{form}}{spread}", f"{each['staleness_mean']:.2f}"]
        )
    return markdown((*header, "stale by (versions)"), rows)


PICTURES = Pictures(Path(__file__).parent, draw, table)

if __name__ == "__main__":
    sys.exit(redraw(PICTURES))
