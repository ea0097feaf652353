"""Model FLOPs utilisation, and where the time of a step goes: the first experiments of PD-ASGD's summary.

    python -m experiments.mfu --out experiments/mfu/results

Passes and thread ratios: the processes of experiments.pd_asgd.timing, for each network. Methods: `layup
train --config=configs/digits.py:NAME`, and what its summary says. A GPU, at the size of the paper:

    python -m experiments.mfu --out DIR --cases resnet50,gpt2 --compute_dtype bfloat16 --methods none
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from experiments import harness
from experiments.mfu.plot import PICTURES
from experiments.pd_asgd.__main__ import summarise_case, timed
from experiments.pd_asgd.timing import CASES, MADE_UP, Job
from experiments.report import beside, earlier, over_seeds
from layup_jax.host import jax_platform
from layup_jax.metrics.records import RunSummary

DEFAULT_CASES = ("conv", "mlp", "gpt", "resnet18")
METHODS = ("local", "fused", "layup", "ddp", "pd_asgd")
_WORKERS = 4
_RUN_SECONDS = 600.0
_SMOKE = {"cases": ("conv",), "methods": ("layup",), "steps": 2}


class Used(NamedTuple):
    """What a summary says: a share of the hardware, samples, seconds of a step by cause."""

    mfu: float | None
    samples_per_second: float
    forward: float
    turn: float
    backward: float
    update: float
    communication: float
    waiting: float
    data: float


def measure(options: argparse.Namespace) -> Mapping[str, Any]:
    """The networks asked for, then the methods in turn, among those that were measured before."""
    found = earlier(options.out, smoke=options.smoke)
    with tempfile.TemporaryDirectory(prefix="layup-mfu-") as name:
        folder = Path(name)
        cases = {case: _case(case, options, folder / "compiled") for case in options.cases}
        methods = _methods(options, folder)
    return {
        "cases": beside(found.get("cases", {}), cases, CASES | MADE_UP),
        "methods": beside(found.get("methods", {}), methods, METHODS),
    }


def used(summary: RunSummary) -> Used:
    """The part of a summary that is of interest.

    Raises:
      ExperimentError: the run has not split its time.
    """
    split = summary.time_split
    if split is None:
        raise harness.ExperimentError(
            "methods need runs that split their time, got one on an accelerator; use --methods none"
        )
    times = [split[cause] for cause in Used._fields[2:]]
    return Used(summary.mfu, summary.samples_per_second, *times)


def _case(name: str, options: argparse.Namespace, compiled: Path) -> dict[str, Any]:
    job = Job(name, options.rounds, options.steps, options.seed, options.compute_dtype, 0)
    case = summarise_case(timed(job, compiled))
    alone = case["passes_alone"]
    # Threads time their calls, which on accelerators return before anything is computed.
    if jax_platform() != "cpu":
        case["backward_over_forward"] = None
    beta = alone["backward_seconds"] / alone["forward_seconds"]
    return {**case, "compute_dtype": options.compute_dtype, "beta_alone": beta}


def _methods(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    rounds = harness.paired_rounds(
        {name: partial(_run, name, options, folder) for name in options.methods},
        rounds=1 if options.smoke else options.seeds,
        seed=options.seed,
    )
    return {name: over_seeds(runs) for name, runs in rounds.items()}


def _run(name: str, options: argparse.Namespace, folder: Path, seed: int) -> Used:
    overrides = [f"--config.seed={seed}", "--config.evaluation.every_steps=0"]
    if options.smoke:
        overrides.append("--config.stop.steps=10")
    summary = harness.train(
        f"configs/digits.py:{name}",
        overrides,
        folder=folder,
        workers=_WORKERS,
        seconds=_RUN_SECONDS,
    )
    return used(summary)


def _parser() -> argparse.ArgumentParser:
    parser = harness.arguments("mfu", __doc__, rounds=9)
    parser.add_argument("--cases", type=harness.names_among([*CASES, *MADE_UP]), metavar="A,B")
    parser.add_argument("--methods", type=harness.names_among(METHODS), metavar="A,B")
    parser.add_argument("--compute_dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument(
        "--steps", type=harness.positive(int), metavar="N", help="of a block, default: 20"
    )
    parser.add_argument("--seeds", type=harness.positive(int), default=5, metavar="N")
    return parser


def _measure(options: argparse.Namespace) -> Mapping[str, Any]:
    usual = {"cases": DEFAULT_CASES, "methods": METHODS, "steps": 20}
    for name, value in (_SMOKE if options.smoke else usual).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return measure(options)


if __name__ == "__main__":
    sys.exit(harness.main(harness.Experiment(_parser(), _measure, PICTURES)))
