"""Every algorithm on a ResNet of the digits and on a small GPT, with four workers, several seeds each.

    python -m experiments.time_to_accuracy --out experiments/time_to_accuracy/results
    python -m experiments.time_to_accuracy --out DIR --cases stdlib_gpt --methods layup,ddp

Each run is `layup train --config=configs/CASE.py:METHOD`; a round is one seed of every algorithm. LayUp
and DDP, which are compared, take all `--rounds`; the others the first `--others` of them. Cases and
algorithms of an earlier run into the same folder are kept.
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

CASES = ("digits_resnet", "stdlib_gpt")  # configurations: models with their data
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
        name: _with_methods(measure_case(name, options), found.get(name)) for name in options.cases
    }
    cases = beside(found, measured_now, CASES)
    return {"workers": _WORKERS, **ratios(cases), "cases": cases}


def _with_methods(case: dict[str, Any], found: dict[str, Any] | None) -> dict[str, Any]:
    """And the algorithms that were measured before, if it was the same training."""
    if found is None or any(found[name] != case[name] for name in ("steps", "target")):
        return case
    return {**case, "methods": beside(found["methods"], case["methods"], METHODS)}


def ratios(cases: Mapping[str, Any]) -> dict[str, float]:
    """Test loss of LayUp over that of DDP on the text, from means over seeds."""
    methods = cases.get("stdlib_gpt", {"methods": {}})["methods"]
    if not set(COMPARED) <= methods.keys():
        return {}
    layup, ddp = (methods[name]["test_loss"] for name in COMPARED)
    return {"layup_over_ddp_loss": layup / ddp}


def measure_case(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Every algorithm on one model, in paired rounds."""
    config = validated(load_config(f"configs/{name}.py"))
    length = _SMOKE if options.smoke else _EVALUATED
    compared = [method for method in options.methods if method in COMPARED]
    with tempfile.TemporaryDirectory(prefix="layup-time-to-accuracy-") as folder:
        runs = {
            method: partial(_run, name, method, length, Path(folder)) for method in options.methods
        }
        both = min(options.others, options.rounds)
        rounds = paired_rounds(runs, rounds=both, seed=options.seed)
        rest = {method: runs[method] for method in compared}
        more = paired_rounds(rest, rounds=options.rounds - both, seed=options.seed + both)
    for method, measurements in more.items():
        rounds[method] += measurements
    return {
        "methods": {method: summarise(rounds[method]) for method in METHODS if method in rounds},
        "steps": _SMOKE_STEPS if options.smoke else config.stop.steps,
        "target": config.evaluation.target,
    }


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
    return parser


if __name__ == "__main__":
    sys.exit(main(Experiment(_parser(), measure, PICTURES)))
