"""How fast each method trains over slow links: four virtual hosts, accelerators emulated.

    python -m experiments.slow_network --out experiments/slow_network/results

Each run is `layup train --config=configs/emulated.py:NAME --hosts=virtual`. Periods of the methods that
average now and then are first tuned at 200 Mbit/s, with a seed of its own; then a round is one seed of
all methods. Without that rate they are as an earlier run into the same folder has tuned them. Needs
root on Linux.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from experiments.emulated import (
    CONFIG,
    WORKERS,
    Measured,
    measured,
    medians,
    soonest,
    speed_ratio,
    time_of,
    time_ratio,
)
from experiments.harness import (
    Experiment,
    arguments,
    main,
    names_among,
    paired_rounds,
    train,
)
from experiments.report import beside, earlier
from experiments.slow_network.plot import EFFICIENT, HEADLINE, METHODS, PICTURES, RATES
from layup_jax.errors import ConfigError
from layup_jax.virtual_cluster import Cluster, virtual_hosts

PERIODS = (4, 8, 16, 32)
_UNLIMITED = "unlimited"
_RUN_SECONDS = 120.0  # of training at most; DDP needs most of it at the headline rate
_OTHER_ROUNDS = 1
_NEEDED = ("local", "layup", "ddp", *EFFICIENT)  # for the numbers at the top of results.json

Rounds = Mapping[str, Sequence[Measured]]


class Run(NamedTuple):
    """What all runs of the experiment have in common.

    Attributes:
      folder: of what they write and have compiled.
      seconds: of training at most.
    """

    folder: Path
    seconds: float

    def __call__(self, method: str, more: Sequence[str], seed: int) -> Measured:
        """Trains one method over the links as they are."""
        overrides = [
            "--hosts=virtual",
            f"--config.stop.seconds={self.seconds}",
            f"--config.seed={seed}",
            *more,
        ]
        summary = train(
            f"{CONFIG}:{method}",
            overrides,
            folder=self.folder,
            workers=WORKERS,
            seconds=self.seconds,
        )
        return measured(summary)


def measure(options: argparse.Namespace) -> Mapping[str, Any]:
    """Tunes, then runs all methods at the rates asked for, beside those that were measured before."""
    found = earlier(options.out, smoke=options.smoke)
    if HEADLINE not in (*options.rates, *found.get("rates", ())):
        raise ConfigError(
            f"periods are tuned at {HEADLINE}, got no results of that in {options.out}; add it to --rates"
        )
    with (
        tempfile.TemporaryDirectory(prefix="layup-slow-network-") as folder,
        virtual_hosts(WORKERS) as cluster,
    ):
        run = Run(Path(folder), options.seconds)
        known = _tuned(cluster, run, options) if HEADLINE in options.rates else found
        rates = {
            rate: _at_rate(cluster, rate, run, known["periods"], options) for rate in options.rates
        }
    if HEADLINE in rates:
        known = {**headline(rates[HEADLINE]), **known}
    summaries = {rate: summarise(each) for rate, each in rates.items()}
    return {**known, "rates": beside(found.get("rates", {}), summaries, RATES), "workers": WORKERS}


def _tuned(cluster: Cluster, run: Run, options: argparse.Namespace) -> dict[str, Any]:
    """The best periods at the headline rate, all that were tried, and what is measured with them."""
    cluster.limit(HEADLINE)
    tried = tune(run, options.periods, options.seed)
    return {
        "periods": {method: best_period(runs) for method, runs in tried.items()},
        "tuning": {
            method: {str(period): found._asdict() for period, found in runs.items()}
            for method, runs in tried.items()
        },
        "run_seconds": options.seconds,
        "seeds": list(range(options.seed + 1, options.seed + 1 + options.rounds)),
    }


def tune(
    run: Callable[..., Measured], periods: Sequence[int], seed: int
) -> dict[str, dict[int, Measured]]:
    """One run of each method that has a period with each of these, at the present rate."""
    return {
        method: {period: run(method, _period(period), seed) for period in periods}
        for method in EFFICIENT
    }


def best_period(runs: Mapping[int, Measured]) -> int:
    """That reaches the target first; of those that do not reach it the one with the best accuracy."""
    return min(runs, key=lambda period: (time_of(runs[period]), -(runs[period].test_accuracy or 0)))


def headline(rounds: Rounds) -> dict[str, float | None]:
    """LayUp's three numbers at one rate: speed over no communication, then times to the target.

    The best of the communication-efficient methods is that with the least median time.
    """
    best = soonest(EFFICIENT, rounds)
    return {
        "layup_over_local": speed_ratio(rounds["layup"], rounds["local"]),
        "layup_over_ddp": time_ratio(rounds["layup"], rounds["ddp"]),
        "layup_over_best_communication_efficient": time_ratio(rounds["layup"], rounds[best]),
    }


def summarise(rounds: Rounds) -> dict[str, Any]:
    """Medians of each method, and its speed over that without communication."""
    return {
        method: {**medians(runs), "over_local": speed_ratio(runs, rounds["local"])}
        for method, runs in rounds.items()
    }


def _at_rate(
    cluster: Cluster,
    rate: str,
    run: Run,
    periods: Mapping[str, int],
    options: argparse.Namespace,
) -> dict[str, list[Measured]]:
    cluster.limit(None if rate == _UNLIMITED else rate)
    sys.stderr.write(f"links: {rate}\n")
    rounds = options.rounds if rate == HEADLINE else min(options.rounds, _OTHER_ROUNDS)
    measures = {
        method: partial(run, method, _period(periods[method]) if method in periods else ())
        for method in options.methods
    }
    return paired_rounds(measures, rounds=rounds, seed=options.seed + 1)


def _period(steps: int) -> tuple[str, ...]:
    return (f"--config.strategy.period={steps}",)


def _measure(options: argparse.Namespace) -> Mapping[str, Any]:
    options.methods = _NEEDED if options.smoke else METHODS
    options.seconds = 2.0 if options.smoke else _RUN_SECONDS
    if options.rates is None:
        options.rates = (HEADLINE,) if options.smoke else RATES
    if not options.rates:
        raise ConfigError("links must have a rate, got none; leave --rates out for all")
    options.periods = PERIODS[:1] if options.smoke else PERIODS
    if options.smoke:
        options.rounds = 1
    return measure(options)


def _parser() -> argparse.ArgumentParser:
    parser = arguments("slow_network", __doc__, rounds=3)
    parser.add_argument(
        "--rates",
        type=names_among(RATES),
        metavar="A,B",
        help=f"others stay as they were; default: all, in a smoke {HEADLINE}",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(Experiment(_parser(), _measure, PICTURES)))
