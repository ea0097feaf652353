"""BatchNorm's running statistics under gossip: which of three ways is right, on the digits.

    python -m experiments.batch_statistics --out experiments/batch_statistics/results

Each run is `layup train --config=configs/digits_resnet.py:NAME`; a round is one seed of every case.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from experiments.batch_statistics.plot import PICTURES
from experiments.harness import Experiment, ExperimentError, arguments, main, paired_rounds, train
from experiments.report import over_seeds
from layup_jax.config import RunConfig
from layup_jax.metrics.records import RunSummary

_CONFIG = "configs/digits_resnet.py"
_WORKERS = 4
_SECONDS = 600.0
_SMOKE = ("--config.stop.steps=4", "--config.model.options.width=4")
_DEFAULT = RunConfig().batch_statistics


class Case(NamedTuple):
    """An algorithm, as after the colon of the configuration, and `batch_statistics`."""

    method: str
    statistics: str


CASES = {
    **{f"LayUp, {way}": Case("layup", way) for way in ("local", "gossip", "reestimate")},
    f"A2CiD2, {_DEFAULT}": Case("a2cid2", _DEFAULT),
    f"DDP, {_DEFAULT}": Case("ddp", _DEFAULT),
}


class Measured(NamedTuple):
    """Of one run.

    Attributes:
      test_loss: of the mean model.
      test_accuracy: of the mean model.
      worker_accuracy: mean over workers of the accuracy of their own models.
    """

    test_loss: float
    test_accuracy: float
    worker_accuracy: float


def measured(summary: RunSummary) -> Measured:
    """What the table says of a finished run."""
    if summary.test_accuracy is None or summary.test_loss is None:
        raise ExperimentError("a run must be evaluated, got no accuracy; run it by hand to see why")
    own = statistics.fmean(summary.test_accuracy_per_worker)
    return Measured(summary.test_loss, summary.test_accuracy, own)


def _measure(options: argparse.Namespace) -> Mapping[str, Any]:
    more = _SMOKE if options.smoke else ()
    if options.smoke:
        options.rounds = 1
    with tempfile.TemporaryDirectory(prefix="layup-batch-statistics-") as folder:
        rounds = paired_rounds(
            {name: partial(_run, case, more, Path(folder)) for name, case in CASES.items()},
            rounds=options.rounds,
            seed=options.seed,
        )
    return {
        "cases": {name: over_seeds(rounds[name]) for name in CASES},
        "workers": _WORKERS,
        "seeds": list(range(options.seed, options.seed + options.rounds)),
    }


def _run(case: Case, more: tuple[str, ...], folder: Path, seed: int) -> Measured:
    overrides = [
        f"--config.seed={seed}",
        f"--config.batch_statistics={case.statistics}",
        "--config.evaluation.every_steps=0",
        *more,
    ]
    config = f"{_CONFIG}:{case.method}"
    return measured(train(config, overrides, folder=folder, workers=_WORKERS, seconds=_SECONDS))


if __name__ == "__main__":
    parser = arguments("batch_statistics", __doc__, rounds=5)
    sys.exit(main(Experiment(parser, _measure, PICTURES)))
