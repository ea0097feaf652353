"""Samples per second of all workers together: fused, local, and LayUp over both data planes.

    python -m experiments.throughput --out experiments/throughput/results

Each run is the real command, `layup train`; what one of its workers does is what users get.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from experiments.harness import (
    Experiment,
    ExperimentError,
    arguments,
    main,
    median_ratio,
    paired_rounds,
    positive,
    run_process,
)
from experiments.throughput.plot import PICTURES
from layup_jax.metrics import RunFolder

_CONFIG = Path(__file__).with_name("config.py")
_START_SECONDS = 300.0  # imports, compilation and the end of a run, on a slow machine
_DELAY_SECONDS = 0.05
_NAME = "throughput"


class Method(NamedTuple):
    """An algorithm over a data plane, as overrides of the configuration."""

    strategy: str
    mixing: str = "pairwise"
    data_plane: str = "auto"

    def overrides(self) -> list[str]:
        """As on the command line."""
        return [
            f"--config.strategy.name={self.strategy}",
            f"--config.strategy.mixing={self.mixing}",
            f"--config.transport.data_plane={self.data_plane}",
        ]


METHODS = {
    "fused": Method("fused"),
    "local": Method("local"),
    "push_sum_host": Method("layup", "push_sum", "host"),
    "pairwise_mpi4jax": Method("layup", "pairwise", "mpi4jax"),
}
LAYUP = ("push_sum_host", "pairwise_mpi4jax")


class Measured(NamedTuple):
    """Of one run.

    Attributes:
      samples_per_second: of all workers together.
      peak_rss_bytes: greatest over workers.
      messages_sent: sum over workers.
      segments: of the partition that was chosen.
    """

    samples_per_second: float
    peak_rss_bytes: int
    messages_sent: int
    segments: int


Rounds = dict[str, list[Measured]]


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All methods, with and without a straggler, in turn."""
    measures: dict[str, Callable[[], Measured]] = {}
    with tempfile.TemporaryDirectory(prefix="layup-throughput-") as folder:
        for name, method in METHODS.items():
            run = partial(measure_method, method, options, Path(folder))
            measures[name] = partial(run, straggler=False)
            measures[f"{name}_straggler"] = partial(run, straggler=True)
        values = paired_rounds(measures, rounds=options.rounds, seed=options.seed)
    return {
        **summarise(values),
        "workers": options.workers,
        "run_seconds": options.seconds,
        "delay_seconds": _DELAY_SECONDS,
    }


def measure_method(
    method: Method, options: argparse.Namespace, folder: Path, *, straggler: bool
) -> Measured:
    """One run of `layup train`, in a folder that all runs share.

    Raises:
      ExperimentError: it did not finish.
    """
    overrides = [*method.overrides(), f"--config.stop.seconds={options.seconds}"]
    if straggler:
        overrides.append(f"--config.delay.ranks=({options.workers - 1},)")
        overrides.append(f"--config.delay.seconds={_DELAY_SECONDS}")
    what = " ".join(["layup train", *overrides])
    sys.stderr.write(f"{what}\n")
    command = [sys.executable, "-m", "layup_jax.cli", "train", f"--config={_CONFIG}"]
    command += [f"--workers={options.workers}", f"--config.output={folder}", "--overwrite"]
    run_process(
        [*command, *overrides],
        what=what,
        timeout_seconds=options.seconds + _START_SECONDS,
        compiled=folder / "compiled",
    )
    summary = RunFolder.open(folder / _NAME).read_summary()
    if summary is None or summary.status != "finished":
        status = "no summary" if summary is None else f"'{summary.status}'"
        raise ExperimentError(f"{what} must finish, got {status}; run it by hand to see why")
    return Measured(
        summary.samples_per_second,
        summary.peak_rss_bytes,
        summary.messages_sent,
        summary.segments,
    )


def summarise(values: Rounds) -> dict[str, Any]:
    """Medians over rounds, of ratios within a round, from what every run gave."""
    speeds = {name: [each.samples_per_second for each in runs] for name, runs in values.items()}
    memory = {name: [each.peak_rss_bytes for each in runs] for name, runs in values.items()}

    def ratios(numbers, below: str, suffix: str = "") -> dict[str, float]:
        return {
            name: median_ratio(numbers[name + suffix], numbers[below + suffix]) for name in LAYUP
        }

    def medians(suffix: str) -> dict[str, float]:
        return {name: statistics.median(speeds[name + suffix]) for name in METHODS}

    return {
        "layup_over_local": ratios(speeds, "local"),
        "layup_over_local_straggler": ratios(speeds, "local", "_straggler"),
        "layup_over_fused": ratios(speeds, "fused"),
        "layup_over_fused_straggler": ratios(speeds, "fused", "_straggler"),
        "peak_rss_over_local": ratios(memory, "local"),
        "samples_per_second": {**medians(""), "straggler": medians("_straggler")},
        "rounds": {name: [each._asdict() for each in runs] for name, runs in values.items()},
    }


def _parser() -> argparse.ArgumentParser:
    parser = arguments("throughput", __doc__, rounds=5)
    parser.add_argument("--workers", type=positive(int), default=4, metavar="N")
    parser.add_argument("--seconds", type=positive(float), metavar="S", help="of a run; default: 8")
    return parser


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    if options.seconds is None:
        options.seconds = 1.0 if options.smoke else 8.0
    if options.workers < 2:
        raise ExperimentError(f"--workers must be at least 2, got {options.workers}; raise it")
    return measure(options)


if __name__ == "__main__":
    sys.exit(main(Experiment(_parser(), _measure, PICTURES)))
