"""Every algorithm on the handwritten digits with four workers, several seeds each.

    python -m experiments.algorithms --out experiments/algorithms/results

Each run is `layup train --config=configs/digits.py:NAME`; a round is one seed of every algorithm.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from experiments.algorithms.plot import METHODS, PICTURES
from experiments.harness import Experiment, ExperimentError, arguments, main, paired_rounds, train
from experiments.report import over_seeds
from layup_jax.metrics.records import RunSummary

_CONFIG = "configs/digits.py"
_WORKERS = 4
_SECONDS = 120.0  # of training; the demo's budget is half of it


class Measured(NamedTuple):
    """Of one run.

    Attributes:
      test_loss: of the mean model.
      test_accuracy: of the mean model.
      worst_worker_accuracy: of the worst worker's own model.
      samples_per_second: of all workers together.
      time_to_target_seconds: of training until the mean model reached the accuracy `target`; None
        if it never did.
      sent_bytes_per_sample: parameters and weights, without protocol messages; an average over M workers
        counts 2 (M - 1) / M of a vector for each of them.
      staleness_mean: writes by others between a segment's forward read and its update.
      consensus_distance: root mean square distance of the workers' models to the mean model.
      train_seconds: of the slowest worker.
    """

    test_loss: float
    test_accuracy: float
    worst_worker_accuracy: float
    samples_per_second: float
    time_to_target_seconds: float | None
    sent_bytes_per_sample: float
    staleness_mean: float
    consensus_distance: float
    train_seconds: float


def measured(summary: RunSummary) -> Measured:
    """What the table says of a finished run."""
    loss, accuracy = summary.test_loss, summary.test_accuracy
    distance = summary.consensus_distance
    if loss is None or accuracy is None or distance is None:
        raise ExperimentError("a run must be evaluated, got no accuracy; run it by hand to see why")
    return Measured(
        test_loss=loss,
        test_accuracy=accuracy,
        worst_worker_accuracy=min(summary.test_accuracy_per_worker),
        samples_per_second=summary.samples_per_second,
        time_to_target_seconds=summary.time_to_target_seconds,
        sent_bytes_per_sample=summary.sent_bytes / summary.samples_total,
        staleness_mean=summary.staleness_mean,
        consensus_distance=distance,
        train_seconds=summary.train_seconds,
    )


def summarise(runs: Sequence[Measured]) -> dict[str, Any]:
    """`over_seeds` of what was measured.

    Times to the target are those of the runs that reached it; `reached` says how many did.
    """
    reached = sum(run.time_to_target_seconds is not None for run in runs)
    return {**over_seeds(runs), "reached": reached}


def measure(options: argparse.Namespace) -> Mapping[str, Any]:
    """All algorithms, in turn."""
    with tempfile.TemporaryDirectory(prefix="layup-algorithms-") as folder:
        rounds = paired_rounds(
            {name: partial(_measure_one, name, Path(folder)) for name in METHODS},
            rounds=options.rounds,
            seed=options.seed,
        )
    return {
        "methods": {name: summarise(rounds[name]) for name in METHODS},
        "workers": _WORKERS,
        "seeds": list(range(options.seed, options.seed + options.rounds)),
    }


def _measure_one(name: str, folder: Path, seed: int) -> Measured:
    overrides = [f"--config.seed={seed}"]
    config = f"{_CONFIG}:{name}"
    return measured(train(config, overrides, folder=folder, workers=_WORKERS, seconds=_SECONDS))


def _measure(options: argparse.Namespace) -> Mapping[str, Any]:
    if options.smoke:
        options.rounds = 1
    return measure(options)


if __name__ == "__main__":
    sys.exit(main(Experiment(arguments("algorithms", __doc__, rounds=5), _measure, PICTURES)))
