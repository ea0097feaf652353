"""What experiments with emulated accelerators share: their methods, and what is kept of a run.

measured(summary)             # Measured(samples_per_second=..., time_to_target_seconds=..., ...)
medians(rounds)               # of all runs of a method
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from layup_jax.metrics.records import RunSummary

CONFIG = "configs/emulated.py"
WORKERS = 4
TARGET = 0.95  # `evaluation.target` of that configuration
TITLE = "emulated accelerator"
SMALL = (  # computation takes little of the cores; the end of a run is set by samples
    "--config.model.options.width=256",
    "--config.emulation.forward_seconds=0.004",
    "--config.emulation.backward_seconds=0.008",
    "--config.stop.steps=1000000",
)
LABELS = {
    "local": "no communication",
    "layup": "LayUp, pairwise",
    "pd_asgd": "PD-ASGD, pairwise",
    "a2cid2": "A2CiD2, ring",
    "ad_psgd": "AD-PSGD, ring",
    "gosgd": "GoSGD",
    "co2": "CO2",
    "diloco": "DiLoCo",
    "local_sgd": "LocalSGD",
    "slowmo": "SlowMo",
    "ddp": "DDP",
}


class Measured(NamedTuple):
    """Of one run.

    Attributes:
      samples_per_second: of all workers together.
      time_to_target_seconds: of training until half of the workers' own models had reached the target;
        None if they did not.
      test_accuracy: of the mean model at the end.
      sent_bytes_per_sample: parameters and weights, without protocol messages.
      worst_worker_accuracy: of the worst worker's own model at the end.
      consensus_distance: mean over workers of the L2 distance to the mean model, at the end.
    """

    samples_per_second: float
    time_to_target_seconds: float | None
    test_accuracy: float | None
    sent_bytes_per_sample: float
    worst_worker_accuracy: float | None
    consensus_distance: float | None


def measured(summary: RunSummary) -> Measured:
    """What is kept of a finished run."""
    own = [each for each in summary.test_accuracy_per_worker if each is not None]
    return Measured(
        samples_per_second=summary.samples_per_second,
        time_to_target_seconds=summary.time_to_target_seconds,
        test_accuracy=summary.test_accuracy,
        sent_bytes_per_sample=summary.sent_bytes / summary.samples_total,
        worst_worker_accuracy=min(own, default=None),
        consensus_distance=summary.consensus_distance,
    )


def time_of(run: Measured) -> float:
    """Seconds to the target; infinite if it was not reached."""
    return math.inf if run.time_to_target_seconds is None else run.time_to_target_seconds


def medians(runs: Sequence[Measured]) -> dict[str, Any]:
    """Of each number over rounds; None for a time that is not reached in half of them."""
    found = {
        name: statistics.median(getattr(run, name) for run in runs)
        for name in ("samples_per_second", "test_accuracy", "sent_bytes_per_sample")
    }
    seconds = statistics.median(map(time_of, runs))
    return {
        **found,
        "time_to_target_seconds": seconds if math.isfinite(seconds) else None,
        "rounds": [run._asdict() for run in runs],
    }


def speed_ratio(above: Sequence[Measured], below: Sequence[Measured]) -> float:
    """Samples a second of one method over those of another: the median over rounds."""
    return statistics.median(
        a.samples_per_second / b.samples_per_second for a, b in zip(above, below, strict=True)
    )


def time_ratios(faster: Sequence[Measured], slower: Sequence[Measured]) -> list[float]:
    """How many times as fast one method reaches the target, in each round in which both did."""
    pairs = [(time_of(a), time_of(b)) for a, b in zip(faster, slower, strict=True)]
    return [b / a for a, b in pairs if math.isfinite(a) and math.isfinite(b)]


def time_ratio(faster: Sequence[Measured], slower: Sequence[Measured]) -> float | None:
    """The median of `time_ratios`; None where either did not reach the target in a round."""
    ratios = time_ratios(faster, slower)
    return statistics.median(ratios) if len(ratios) == len(faster) else None


def soonest(names: Iterable[str], rounds: Mapping[str, Sequence[Measured]]) -> str:
    """Of these methods the one with the least median time to the target."""
    return min(names, key=lambda name: statistics.median(map(time_of, rounds[name])))
