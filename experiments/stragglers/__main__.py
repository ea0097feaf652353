"""What a slow worker, or late messages, cost each method: four workers, accelerators emulated.

    python -m experiments.stragglers --out experiments/stragglers/results

Each run is `layup train --config=configs/emulated.py:NAME` with a smaller network, so that computation
takes little of the cores; all runs train on the same number of samples; a round is one seed of all.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from experiments.emulated import (
    CONFIG,
    SMALL,
    WORKERS,
    Measured,
    measured,
    medians,
    speed_ratio,
    time_ratio,
)
from experiments.harness import Experiment, arguments, main, names_among, paired_rounds, train
from experiments.report import beside, earlier
from experiments.stragglers.plot import MESSAGE_SECONDS, METHODS, PICTURES, SLOWDOWNS

_SLOW_RANK = WORKERS - 1
_SAMPLES = 12_800  # of all workers: 100 steps each where all are alike
_RUN_SECONDS = 120.0
_NEEDED = ("local", "layup", "ddp")  # for the numbers at the top of results.json

Cases = Mapping[str, Mapping[str, Sequence[Measured]]]


def measure(options: argparse.Namespace) -> Mapping[str, Any]:
    """The methods under all delays, in turn within a round, beside those that were measured before."""
    with tempfile.TemporaryDirectory(prefix="layup-stragglers-") as folder:
        run = partial(_run, Path(folder), options)
        slow = {value: _slowdown(value) for value in options.slowdowns}
        late = {value: _lateness(value) for value in options.message_seconds if value}
        measures = {
            (kind, value, method): partial(run, method, overrides)
            for kind, cases in (("slow", slow), ("late", late))
            for value, overrides in cases.items()
            for method in options.methods
        }
        rounds = paired_rounds(measures, rounds=options.rounds, seed=options.seed)
    slowdowns = {str(value): _of(rounds, "slow", value) for value in slow}
    none = str(min(slow))
    lateness = {"0": slowdowns[none], **{str(value): _of(rounds, "late", value) for value in late}}
    found = earlier(options.out, smoke=options.smoke)
    cases = {
        "slowdowns": summarise(slowdowns, none),
        "message_seconds": summarise(lateness, "0"),
    }
    return {
        **headline(slowdowns),
        **{kind: _beside(found.get(kind, {}), measured) for kind, measured in cases.items()},
        "workers": WORKERS,
        "samples": options.samples,
        "seeds": list(range(options.seed, options.seed + options.rounds)),
    }


def headline(cases: Cases) -> dict[str, float | None]:
    """The four numbers, from the runs with a slowdown of 1, 4 and 8.

    `layup_over_local` is over what all workers would do that each keep their own pace.
    """
    plain, slow, slower = cases["1"], cases["4"], cases["8"]
    pace = (WORKERS - 1 + 1 / 4) / WORKERS
    return {
        "layup_over_local": speed_ratio(slow["layup"], plain["local"]) / pace,
        "ddp_over_local": speed_ratio(slow["ddp"], plain["local"]),
        "layup_over_ddp_at_8x": time_ratio(slower["layup"], slower["ddp"]),
        "accuracy_loss": _accuracy(plain["layup"]) - _accuracy(slow["layup"]),
    }


def summarise(cases: Cases, none: str) -> dict[str, Any]:
    """Medians by case and method, and speed over that without communication and without delays."""
    return {
        value: {
            method: {**medians(runs), "over_local": speed_ratio(runs, cases[none]["local"])}
            for method, runs in methods.items()
        }
        for value, methods in cases.items()
    }


def _beside(found: Mapping[str, Any], cases: Mapping[str, Any]) -> dict[str, Any]:
    """Case by case, the methods of this run and those of an earlier one."""
    return {
        value: beside(found.get(value, {}), methods, METHODS) for value, methods in cases.items()
    }


def _accuracy(runs: Sequence[Measured]) -> float:
    return statistics.median(run.test_accuracy or 0.0 for run in runs)


def _of(rounds: Mapping[Any, Any], kind: str, value: float) -> dict[str, Sequence[Measured]]:
    return {key[2]: runs for key, runs in rounds.items() if key[:2] == (kind, value)}


def _slowdown(times: int) -> tuple[str, ...]:
    if times == 1:
        return ()
    return (f"--config.delay.ranks=({_SLOW_RANK},)", f"--config.delay.slowdown={times}")


def _lateness(seconds: float) -> tuple[str, ...]:
    return (
        "--config.delay.ranks=all",
        f"--config.delay.message_seconds={seconds}",
        "--config.delay.pattern=exponential",
    )


def _run(
    folder: Path,
    options: argparse.Namespace,
    method: str,
    delays: Sequence[str],
    seed: int,
) -> Measured:
    end = (f"--config.stop.samples={options.samples}", f"--config.stop.seconds={_RUN_SECONDS}")
    overrides = [*SMALL, *end, f"--config.seed={seed}", *delays]
    summary = train(
        f"{CONFIG}:{method}", overrides, folder=folder, workers=WORKERS, seconds=_RUN_SECONDS
    )
    return measured(summary)


def _measure(options: argparse.Namespace) -> Mapping[str, Any]:
    options.samples = 256 if options.smoke else _SAMPLES
    options.slowdowns = SLOWDOWNS
    options.message_seconds = MESSAGE_SECONDS[:1] if options.smoke else MESSAGE_SECONDS
    options.methods = (*_NEEDED, *(options.methods or (() if options.smoke else METHODS)))
    if options.smoke:
        options.rounds = 1
    return measure(options)


def _parser() -> argparse.ArgumentParser:
    parser = arguments("stragglers", __doc__, rounds=2)
    parser.add_argument(
        "--methods",
        type=names_among(METHODS),
        metavar="A,B",
        help=f"beside {', '.join(_NEEDED)}; others stay as they were; default: all",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(Experiment(_parser(), _measure, PICTURES)))
