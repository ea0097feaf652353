"""The figure and the table of training over slow links, from results.json alone.

python -m experiments.slow_network.plot experiments/slow_network/results
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.emulated import LABELS, TITLE, Measured, soonest, time_ratios
from experiments.report import BAR_LOOKS, INK, Pictures, Results, markdown, redraw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEADLINE = "200mbit"
RATES = ("100mbit", HEADLINE, "1gbit", "unlimited")
METHODS = (
    "local",
    "layup",
    "a2cid2",
    "ad_psgd",
    "gosgd",
    "co2",
    "diloco",
    "local_sgd",
    "slowmo",
    "ddp",
)
EFFICIENT = ("co2", "diloco", "local_sgd", "slowmo")
_ROW = 0.8  # of all bars of a method together


def draw(results: Results, figure: Figure) -> None:
    """Speed over no communication, and time to the target, a bar for each rate."""
    speeds, times = figure.subplots(1, 2, sharey=True)
    rates, methods = _measured(results)
    height = _ROW / len(rates)
    for group, rate in enumerate(rates):
        for row, method in enumerate(methods):
            each = results["rates"][rate][method]
            at = row + (group - (len(rates) - 1) / 2) * height
            look = {**BAR_LOOKS[group % len(BAR_LOOKS)], "label": None if row else rate}
            speeds.barh(at, each["over_local"], 0.9 * height, **look)
            times.barh(at, each["time_to_target_seconds"] or 0, 0.9 * height, **look)
            if each["time_to_target_seconds"] is None:
                times.annotate("not reached", (0, at), va="center", fontsize=6, color=INK)
    speeds.set_yticks(range(len(methods)), [LABELS[name] for name in methods], fontsize=8)
    speeds.invert_yaxis()
    speeds.set(xlabel="samples/s over no communication", title=f"{TITLE}: speed")
    times.set(xlabel="training time to accuracy 0.95 (s)", title=f"{TITLE}: time to target")
    times.legend(title="links", loc="best")
    for axes in (speeds, times):
        axes.grid(visible=False, axis="y")
        axes.grid(visible=True, axis="x")


def table(results: Results) -> str:
    """One row for each method, two columns for each rate, then the three ratios."""
    rates, methods = _measured(results)
    header = ["method", "period"]
    for rate in rates:
        header += [f"{rate}: over local", "s to 0.95"]
    rows = []
    for method in methods:
        row = [LABELS[method], str(results["periods"].get(method, ""))]
        for rate in rates:
            each = results["rates"][rate][method]
            row += [f"{each['over_local']:.2f}", _seconds(each["time_to_target_seconds"])]
        rows.append(row)
    return f"{markdown(header, rows)}\n\n{brief(results)}"


def _measured(results: Results) -> tuple[list[str], list[str]]:
    """The rates, and the methods."""
    rates = [rate for rate in RATES if rate in results["rates"]]
    return rates, [method for method in METHODS if method in results["rates"][HEADLINE]]


def brief(results: Results) -> str:
    """The three ratios, and how far apart the rounds are in the last one."""
    rows = results["rates"][HEADLINE]
    runs = {name: [Measured(**each) for each in row["rounds"]] for name, row in rows.items()}
    rounds = len(runs["layup"])
    found = time_ratios(runs["layup"], runs[soonest(EFFICIENT, runs)])
    spread = f"; the last one {min(found):.2f} to {max(found):.2f}" if len(found) > 1 else ""
    return (
        f"At {HEADLINE}, with an emulated accelerator: LayUp's samples/s over no communication "
        f"{results['layup_over_local']:.2f}; in time to the target over DDP "
        f"{_times(results['layup_over_ddp'])}, over the best of CO2, DiLoCo, LocalSGD and SlowMo, each "
        f"with the best period tried, {_times(results['layup_over_best_communication_efficient'])}"
        f" (medians of {rounds} paired round{'s' * (rounds > 1)}, each with a seed of its own{spread})."
    )


def _seconds(value: float | None) -> str:
    return "not reached" if value is None else f"{value:.1f}"


def _times(value: float | None) -> str:
    return "not known" if value is None else f"{value:.2f}"


PICTURES = Pictures(Path(__file__).parent, draw, table)

if __name__ == "__main__":
    sys.exit(redraw(PICTURES))
