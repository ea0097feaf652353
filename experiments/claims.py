"""Writes docs/claims.md: what papers claim beside what was measured here, from committed results alone.

    python -m experiments.claims

A claim whose experiment has no results yet is said to be not measured.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from experiments.report import fill, markdown, read_results
from layup_jax.errors import LayupError

_ROOT = Path(__file__).resolve().parents[1]
_PAGE = _ROOT / "docs" / "claims.md"
_LAYUP = "LayUp, arXiv 2410.05985 v4"
_PD_ASGD = "PD-ASGD, arXiv 2410.05985 v1-v3"

Results = Mapping[str, Any]


class Found(NamedTuple):
    """What was measured, in words; whether it agrees with the claim: yes, in part or no."""

    text: str
    agrees: str


def _judged(text: str, value: float, claimed: float) -> Found:
    """Agrees with a ratio that is claimed; in part where only the direction is that of the claim."""
    return Found(text, "yes" if value >= claimed else "in part" if value > 1 else "no")


def _checked(text: str, is_so: bool) -> Found:
    return Found(text, "yes" if is_so else "no")


_NOT_REACHED = Found("the target was not reached by both", "no")


class Claim(NamedTuple):
    """One claim of a paper.

    Attributes:
      source: paper.
      text: what it says.
      experiment: whose results tell.
      find: results -> what was measured; may raise KeyError where they do not have it.
      why: what to know of the comparison.
    """

    source: str
    text: str
    experiment: str
    find: Callable[[Results], Found]
    why: str


def _ratio(key: str, claimed: float, unit: str = "times as fast") -> Callable[[Results], Found]:
    """A ratio at the top of results.json."""

    def find(results: Results) -> Found:
        value = results[key]
        if value is None:
            return _NOT_REACHED
        return _judged(f"{value:.2f} {unit}", value, claimed)

    return find


def _late_messages(results: Results) -> Found:
    cases = results["message_seconds"]
    worst = max(cases, key=float)
    kept = {
        method: cases[worst][method]["samples_per_second"]
        / cases["0"][method]["samples_per_second"]
        for method in ("layup", "ddp")
    }
    change = cases[worst]["layup"]["test_accuracy"] - cases["0"]["layup"]["test_accuracy"]
    text = (
        f"messages {worst} s late: LayUp keeps {kept['layup']:.2f} of its samples/s (DDP "
        f"{kept['ddp']:.2f}), its accuracy changes by {change:+.4f}"
    )
    return _checked(text, kept["layup"] >= 0.95 and change >= -0.01)


def _delayed_pd_asgd(results: Results) -> Found:
    slow, plain = results["slowdowns"]["8"], results["slowdowns"]["1"]
    times = [slow[method]["time_to_target_seconds"] for method in ("pd_asgd", "ddp")]
    ratio = None if None in times else times[1] / times[0]
    speed = slow["pd_asgd"]["samples_per_second"] / slow["ddp"]["samples_per_second"]
    reached = _NOT_REACHED.text if ratio is None else f"{ratio:.2f} times as fast"
    lost, before = (
        case["ddp"]["test_accuracy"] - case["pd_asgd"]["test_accuracy"] for case in (slow, plain)
    )
    text = (
        f"one worker 8 times slower: {reached}; {speed:.1f} times the samples/s, accuracy after as many "
        f"{lost:.4f} below DDP's ({before:.4f} with no worker slow)"
    )
    if ratio is None or lost > 0.025:
        return Found(text, "no")
    return _judged(text, ratio, 5.95)


def _mfu(first: str, second: str, claimed: float) -> Callable[[Results], Found]:
    def find(results: Results) -> Found:
        shares = [results["methods"][name]["mfu"] for name in (first, second)]
        return _judged(f"{shares[0]:.1%} against {shares[1]:.1%}", shares[0] / shares[1], claimed)

    return find


def _speeds(first: str, second: str, claimed: float) -> Callable[[Results], Found]:
    """Of two methods in pd_asgd's runs to the end: medians over seeds."""

    def find(results: Results) -> Found:
        speeds = [
            statistics.median(
                run["samples_per_second"] for run in results["accuracy"][name]["runs"]
            )
            for name in (first, second)
        ]
        ratio = speeds[0] / speeds[1]
        return _judged(f"{ratio:.2f} times the samples/s", ratio, claimed)

    return find


def _without_layers(results: Results) -> Found:
    accuracy = results["accuracy"]
    lost = {
        ratio: accuracy[f"PD-ASGD {ratio}"]["test_accuracy"]
        - accuracy[f"D-ASGD {ratio}"]["test_accuracy"]
        for ratio in ("1:1", "1:2", "1:3")
    }
    text = ", ".join(f"{ratio}: {loss:.4f}" for ratio, loss in lost.items())
    return _checked(f"accuracy lost: {text}", all(0 <= loss <= 0.025 for loss in lost.values()))


def _staleness(results: Results) -> Found:
    rows = [
        row["staleness_measured_over_predicted"]
        for case in results["cases"].values()
        for row in case["schedules"].values()
        if "staleness_measured_over_predicted" in row
    ]
    text = f"measured over predicted {min(rows):.2f} to {max(rows):.2f} in {len(rows)} settings"
    return _checked(text, min(rows) >= 0.75 and max(rows) <= 1.25)


def _bias(results: Results) -> Found:
    rows = [row for row in results["bias"] if row["bound"] is not None]
    text = ", ".join(
        f"learning rate {row['learning_rate']:g}: bias at most {row['bias_max']:.3f}, "
        f"bound {row['bound']:.3f}"
        for row in rows
    )
    return _checked(text, bool(rows) and all(row["bias_max"] <= row["bound"] for row in rows))


def _speed_up(results: Results) -> Found:
    case = results["cases"]["conv"]
    ideal = min(1 + case["backward_over_forward"], case["cores"])
    found = results["decoupled_over_interleaved"]
    text = f"{found:.2f} times the steps on {case['cores']} cores, where {ideal:.2f} is the most"
    return _checked(text, found <= ideal)


CLAIMS = (
    Claim(
        _LAYUP,
        "up to 32 % faster than synchronous data parallel training",
        "slow_network",
        _ratio("layup_over_ddp", 1.32),
        "time to an accuracy over links of 200 Mbit/s, accelerators emulated: the slower the links, the "
        "larger the ratio; without a slow network there is little to gain, see throughput",
    ),
    Claim(
        _LAYUP,
        "up to 27 % faster than comparable communication-efficient algorithms",
        "slow_network",
        _ratio("layup_over_best_communication_efficient", 1.27),
        "against the best of LocalSGD, SlowMo, CO2 and DiLoCo, each at the best of 4 periods; "
        "its README has the rounds, one seed each",
    ),
    Claim(
        _LAYUP,
        "robust when communication is delayed",
        "stragglers",
        _late_messages,
        "each message late by an exponentially distributed time, accelerators emulated",
    ),
    Claim(
        _LAYUP,
        "higher model FLOPs utilisation than synchronous training",
        "mfu",
        _mfu("layup", "ddp", 1.0),
        "four workers on two cores that they share, so both are small",
    ),
    Claim(
        _PD_ASGD,
        "MFU 53.8 % against 35.1 % of DDP (ResNet-18, three A100)",
        "mfu",
        _mfu("pd_asgd", "ddp", 53.8 / 35.1),
        "a small network, four workers on two cores; no GPU",
    ),
    Claim(
        _PD_ASGD,
        "1.34 times as fast as DDP (ResNet-18, CIFAR-100)",
        "pd_asgd",
        _speeds("PD-ASGD, LayUp's gossip, 4 workers", "DDP, 4 workers", 1.34),
        "samples a second on the digits, four workers on two cores",
    ),
    Claim(
        _PD_ASGD,
        "2.14 times as fast as LPP-SGD (ResNet-18, CIFAR-100)",
        "pd_asgd",
        _speeds("PD-ASGD 1:2", "LPP-SGD, 2 threads", 2.14),
        "samples a second of one worker; LPP-SGD's threads take whole steps, and two fill two cores as "
        "well",
    ),
    Claim(
        _PD_ASGD,
        "up to 5.95 times as fast as synchronous training under delays, accuracy within 2.5 %",
        "stragglers",
        _delayed_pd_asgd,
        "time to an accuracy, accelerators emulated; PD-ASGD has a rate and a momentum of its own",
    ),
    Claim(
        _PD_ASGD,
        "up to 2.5 % of accuracy is lost without layer-wise updates",
        "pd_asgd",
        _without_layers,
        "digits, same number of samples, mean over seeds",
    ),
    Claim(
        _PD_ASGD,
        "updates are delayed by beta T M (whole model) or beta T (M - 1) / 2 (layer-wise)",
        "pd_asgd",
        _staleness,
        "T and beta from the same runs",
    ),
    Claim(
        _PD_ASGD,
        "the bias of a gradient is at most G alpha eta tau / (1 - alpha eta tau)",
        "pd_asgd",
        _bias,
        "where the bound exists, that is alpha eta tau < 1",
    ),
    Claim(
        _PD_ASGD,
        "ideal speed-up 1 + beta",
        "pd_asgd",
        _speed_up,
        "one forward thread and beta backward threads need that many cores",
    ),
)


def rows(folder: Path) -> list[list[str]]:
    """A row for each claim, of the results below a folder like experiments/."""
    return [_row(claim, folder) for claim in CLAIMS]


def _row(claim: Claim, folder: Path) -> list[str]:
    link = f"[{claim.experiment}](../experiments/{claim.experiment})"
    try:
        results = read_results(folder / claim.experiment / "results")
        found = claim.find(results)
    except (LayupError, KeyError):
        return [claim.source, claim.text, "not measured", link, "", "", claim.why]
    environment = results["environment"]
    hardware = f"{environment['cpu']}, {environment['processors']} cores"
    return [claim.source, claim.text, found.text, link, hardware, found.agrees, claim.why]


def main() -> int:
    """Writes the page; the exit status."""
    argparse.ArgumentParser("experiments.claims", description=__doc__.splitlines()[0]).parse_args()
    header = ("paper", "claim", "measured here", "experiment", "hardware", "agrees", "to know")
    try:
        fill(_PAGE, markdown(header, rows(_ROOT / "experiments")))
    except (LayupError, OSError) as error:
        sys.stderr.write(f"experiments.claims: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
