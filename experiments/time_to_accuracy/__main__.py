"""Every algorithm on a ResNet of the digits and on two GPTs, with four workers, several seeds each.

    python -m experiments.time_to_accuracy --out experiments/time_to_accuracy/results
    python -m experiments.time_to_accuracy --out DIR --cases stdlib_gpt --methods layup,ddp

Each run is `layup train --config=configs/CASE.py:METHOD`; a round is one seed of every algorithm. LayUp
and DDP, which are compared, take all `--rounds`; the others the first `--others` of them. Cases and
algorithms of an earlier run into the same folder are kept; with `--add` rounds are, too.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from experiments.algorithms.__main__ import Measured, measured, summarise
from experiments.algorithms.plot import METHODS
from experiments.harness import (
    Experiment,
    arguments,
    main,
    names_among,
    paired_rounds,
    positive,
    train,
)
from experiments.report import beside, earlier
from experiments.time_to_accuracy.plot import PICTURES
from layup_jax.config import validated
from layup_jax.config_file import load_config

# Configurations: models with their data.
CASES = ("digits_resnet", "stdlib_gpt_small", "stdlib_gpt")
COMPARED = ("layup", "ddp")
_WORKERS = 4
_SECONDS = 900.0  # that training may take
_EVALUATED = ("--config.evaluation.every_steps=50",)
_SMOKE_STEPS = 4
_SMOKE = (f"--config.stop.steps={_SMOKE_STEPS}", "--config.evaluation.every_steps=2")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The cases asked for, one after the other, beside those that were measured before."""
    if options.methods is None:
        options.methods = COMPARED if options.smoke else tuple(METHODS)
    if options.smoke:
        options.rounds = 1
    found = earlier(options.out, smoke=options.smoke).get("cases", {})
    measured_now = {
        name: measure_case(name, options, found.get(name, {})) for name in options.cases
    }
    cases = beside(found, measured_now, CASES)
    return {"workers": _WORKERS, **ratios(cases), "cases": cases}


def ratios(cases: Mapping[str, Any]) -> dict[str, float]:
    """Test loss of LayUp over that of DDP on the text, from means over seeds."""
    methods = cases.get("stdlib_gpt", {"methods": {}})["methods"]
    if not set(COMPARED) <= methods.keys():
        return {}
    layup, ddp = (methods[name]["test_loss"] for name in COMPARED)
    return {"layup_over_ddp_loss": layup / ddp}


def measure_case(
    name: str, options: argparse.Namespace, found: Mapping[str, Any]
) -> dict[str, Any]:
    """Algorithms on one model, beside those found, if these had the same training."""
    config = validated(load_config(f"configs/{name}.py"))
    training = {
        "steps": _SMOKE_STEPS if options.smoke else config.stop.steps,
        "target": config.evaluation.target,
    }
    is_same = all(found.get(key) == value for key, value in training.items())
    methods = found["methods"] if is_same else {}
    kept = methods if options.add else {}
    rounds = {
        method: [Measured(**run) for run in kept[method]["runs"]] if method in kept else []
        for method in options.methods
    }
    _measure_missing(name, options, rounds)
    measured_now = {method: summarise(runs) for method, runs in rounds.items()}
    return {"methods": beside(methods, measured_now, METHODS), **training}


def _measure_missing(
    name: str, options: argparse.Namespace, rounds: Mapping[str, list[Measured]]
) -> None:
    """Appends the rounds that are asked for and not there, each with all algorithms that lack it."""
    length = _SMOKE if options.smoke else _EVALUATED
    with tempfile.TemporaryDirectory(prefix="layup-time-to-accuracy-") as folder:
        for index in range(options.rounds):
            runs = {
                method: partial(_run, name, method, length, Path(folder))
                for method, there in rounds.items()
                if len(there) == index and (method in COMPARED or index < options.others)
            }
            for method, run in paired_rounds(runs, rounds=1, seed=options.seed + index).items():
                rounds[method].extend(run)


def _run(name: str, method: str, length: Sequence[str], folder: Path, seed: int) -> Measured:
    overrides = [f"--config.seed={seed}", *length]
    config = f"configs/{name}.py:{method}"
    return measured(train(config, overrides, folder=folder, workers=_WORKERS, seconds=_SECONDS))


def _parser() -> argparse.ArgumentParser:
    parser = arguments("time_to_accuracy", __doc__, rounds=5)
    parser.add_argument("--cases", type=names_among(CASES), default=tuple(CASES), metavar="A,B")
    parser.add_argument(
        "--methods",
        type=names_among(METHODS),
        metavar="A,B",
        help="default: all; in a smoke those that are compared",
    )
    parser.add_argument(
        "--others",
        type=positive(int),
        default=1,
        metavar="N",
        help="rounds of all but layup and ddp",
    )
    parser.add_argument(
        "--add",
        action="store_true",
        help="measure only the rounds that an earlier run, with the same --seed, has not",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(Experiment(_parser(), measure, PICTURES)))
