"""What each choice of LayUp gains or costs, changed by itself: four workers, accelerators emulated.

    python -m experiments.ablations --out experiments/ablations/results

Each run is `layup train --config=configs/emulated.py:layup` with a smaller network, over links on which
a whole model takes about four steps' time; a round is one seed of every variant.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from experiments.ablations.plot import DEFAULT, PICTURES, VARIANTS
from experiments.emulated import (
    CONFIG,
    SMALL,
    TARGET,
    WORKERS,
    Measured,
    measured,
    time_ratio,
)
from experiments.harness import Experiment, arguments, main, paired_rounds, train
from experiments.report import over_seeds

LINK_MBIT = 32.0  # 282,378 parameters in float32 take 0.28 s, a step of six layers 0.07 s
_SAMPLES = 19_200  # of all workers: 150 steps each where all are alike
_RUN_SECONDS = 120.0
CHANGES: Mapping[str, tuple[str, ...]] = {
    DEFAULT: (),
    "two_segments": ("--config.partition=2",),
    "model": ("--config.partition=model",),
    "push_sum": ("--config.strategy.mixing=push_sum",),
    "peer_per_segment": ("--config.strategy.peer_per=segment",),
    "probability_0.3": ("--config.strategy.probability=0.3",),
    "probability_0.1": ("--config.strategy.probability=0.1",),
    "bfloat16": ("--config.transport.wire_dtype=bfloat16",),
    "local": (),
}


class Compared(NamedTuple):
    """One run beside the runs of the same seed by default and without communication.

    Attributes:
      test_accuracy: of the mean model.
      accuracy_gain: that less the default's.
      worst_worker_accuracy: of the worst worker's own model.
      over_local: samples a second over those without communication.
      time_to_target_seconds: of training until half of the workers' own models had reached the target;
        None if they did not.
      time_gain: the default's such time over this one; None where either is.
      sent_bytes_per_sample: parameters and weights, without protocol messages.
      consensus_distance: mean over workers of the L2 distance to the mean model.
    """

    test_accuracy: float
    accuracy_gain: float
    worst_worker_accuracy: float | None
    over_local: float
    time_to_target_seconds: float | None
    time_gain: float | None
    sent_bytes_per_sample: float
    consensus_distance: float | None


def compared(run: Measured, default: Measured, local: Measured) -> Compared:
    """A run beside two others of its seed."""
    accuracy = run.test_accuracy or 0.0
    return Compared(
        test_accuracy=accuracy,
        accuracy_gain=accuracy - (default.test_accuracy or 0.0),
        worst_worker_accuracy=run.worst_worker_accuracy,
        over_local=run.samples_per_second / local.samples_per_second,
        time_to_target_seconds=run.time_to_target_seconds,
        time_gain=time_ratio([run], [default]),
        sent_bytes_per_sample=run.sent_bytes_per_sample,
        consensus_distance=run.consensus_distance,
    )


def summarise(rounds: Mapping[str, Sequence[Measured]]) -> dict[str, Any]:
    """`over_seeds` of each variant; `reached` says how many runs reached the target."""
    found = {}
    for name, runs in rounds.items():
        triples = zip(runs, rounds[DEFAULT], rounds["local"], strict=True)
        each = [compared(*triple) for triple in triples]
        reached = sum(run.time_to_target_seconds is not None for run in each)
        found[name] = {**over_seeds(each), "reached": reached}
    return found


def measure(options: argparse.Namespace) -> Mapping[str, Any]:
    """All variants, in turn."""
    with tempfile.TemporaryDirectory(prefix="layup-ablations-") as folder:
        rounds = paired_rounds(
            {name: partial(_run, name, Path(folder), options) for name in VARIANTS},
            rounds=options.rounds,
            seed=options.seed,
        )
    return {
        "variants": summarise(rounds),
        "workers": options.workers,
        "samples": options.samples,
        "link_mbit": LINK_MBIT,
        "target": TARGET,
        "seeds": list(range(options.seed, options.seed + options.rounds)),
    }


def _run(name: str, folder: Path, options: argparse.Namespace, seed: int) -> Measured:
    method = "local" if name == "local" else "layup"
    overrides = [
        *SMALL,
        f"--config.stop.samples={options.samples}",
        f"--config.stop.seconds={_RUN_SECONDS}",
        f"--config.seed={seed}",
        "--config.delay.ranks=all",
        f"--config.delay.link_mbit={LINK_MBIT}",
        *CHANGES[name],
    ]
    config = f"{CONFIG}:{method}"
    return measured(
        train(config, overrides, folder=folder, workers=options.workers, seconds=_RUN_SECONDS)
    )


def _measure(options: argparse.Namespace) -> Mapping[str, Any]:
    options.samples, options.workers = _SAMPLES, WORKERS
    if options.smoke:
        options.samples, options.workers, options.rounds = 256, 2, 1
    return measure(options)


if __name__ == "__main__":
    sys.exit(main(Experiment(arguments("ablations", __doc__, rounds=3), _measure, PICTURES)))
