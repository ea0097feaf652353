"""The figure and the table of LayUp's choices, from results.json alone.

python -m experiments.ablations.plot experiments/ablations/results
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.emulated import LABELS, TITLE
from experiments.report import FAINT, INK, Pictures, Results, markdown, redraw, with_spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DEFAULT = "layup"
VARIANTS = {
    DEFAULT: "LayUp by default",
    "two_segments": "partition: 2 segments",
    "model": "partition: model",
    "push_sum": "mixing: push-sum",
    "peer_per_segment": "peer per: segment",
    "probability_0.3": "probability: 0.3",
    "probability_0.1": "probability: 0.1",
    "bfloat16": "wire dtype: bfloat16",
    "local": LABELS["local"],
}
_PANELS = (
    ("test_accuracy", "accuracy of the mean model"),
    ("over_local", "samples/s over no communication"),
    ("time_to_target_seconds", "training time to accuracy {target:g} (s)"),
)


def draw(results: Results, figure: Figure) -> None:
    """Accuracy, speed and time, a row for each variant, with the spread over seeds."""
    panels = figure.subplots(1, len(_PANELS), sharey=True)
    for axes, (key, label) in zip(panels, _PANELS, strict=True):
        _draw_panel(axes, results["variants"], key)
        axes.set_xlabel(label.format(**results))
        axes.grid(visible=False, axis="y")
        axes.grid(visible=True, axis="x")
    panels[0].set_yticks(range(len(VARIANTS)), VARIANTS.values(), fontsize=8)
    panels[0].invert_yaxis()
    seeds = len(results["seeds"])
    panels[0].set_title(f"{TITLE}, {results['workers']} workers, {seeds} seed{'s' * (seeds > 1)}")
    panels[2].set_title(f"links of {results['link_mbit']:g} Mbit/s; dotted: default")


def _draw_panel(axes: Axes, variants: Results, key: str) -> None:
    for row, name in enumerate(VARIANTS):
        mean, spread = variants[name][key], variants[name]["spread"][key]
        if mean is None:
            axes.text(0.02, row, "never", transform=axes.get_yaxis_transform(), va="center")
            continue
        look = {"marker": "o", "color": INK, "linewidth": 0.9, "capsize": 2}
        axes.errorbar(mean, row, xerr=spread, **look, markerfacecolor=_face(name))
    if variants[DEFAULT][key] is not None:
        axes.axvline(variants[DEFAULT][key], color=FAINT, linestyle=":")


def _face(name: str) -> str:
    return INK if name == DEFAULT else "white"


def table(results: Results) -> str:
    """One row for each variant: mean and standard deviation over seeds."""
    header = (
        "what is changed",
        "accuracy",
        "over the default's",
        "worst worker",
        "samples/s over local",
        f"time to {results['target']:g} (s)",
        "default's time over it",
        "bytes per sample",
        "consensus distance",
    )
    rows = [_row(label, results["variants"][name]) for name, label in VARIANTS.items()]
    return markdown(header, rows)


def _row(label: str, each: Results) -> tuple[str, ...]:
    return (
        label,
        with_spread(each, "test_accuracy", ".4f"),
        with_spread(each, "accuracy_gain", "+.4f").replace("± +", "± "),
        with_spread(each, "worst_worker_accuracy", ".4f"),
        with_spread(each, "over_local", ".2f"),
        with_spread(each, "time_to_target_seconds", ".1f"),
        "" if each["time_gain"] is None else with_spread(each, "time_gain", ".2f"),
        f"{each['sent_bytes_per_sample']:,.0f}",
        f"{each['consensus_distance']:.3f}",
    )


PICTURES = Pictures(Path(__file__).parent, draw, table)

if __name__ == "__main__":
    sys.exit(redraw(PICTURES))
