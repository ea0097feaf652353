"""Samples per second of all workers together: LayUp, DDP, no communication, and what else there is.

    python -m experiments.throughput --out experiments/throughput/results

Each run is the real command, `layup train`; what one of its workers does is what users get. Beside it
runs what a user would run instead, if it is installed (`pip install layup_jax[rivals]`): see `rivals`.
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
    paired_rounds,
    positive,
    train,
)
from experiments.report import median_ratio
from experiments.throughput import rivals
from experiments.throughput.plot import PICTURES

_CONFIG = "experiments/throughput/config.py"
_DELAY_SECONDS = 0.05


class Method(NamedTuple):
    """An algorithm over a data plane, as overrides of the configuration."""

    strategy: str
    mixing: str = "pairwise"
    data_plane: str = "auto"
    partition: str = "auto"

    def overrides(self) -> list[str]:
        """As on the command line."""
        return [
            f"--config.strategy.name={self.strategy}",
            f"--config.strategy.mixing={self.mixing}",
            f"--config.transport.data_plane={self.data_plane}",
            f"--config.partition={self.partition}",
        ]


METHODS = {
    "fused": Method("fused"),
    "local": Method("local"),
    "push_sum_host": Method("layup", "push_sum", "host"),
    "pairwise_mpi4jax": Method("layup", "pairwise", "mpi4jax"),
    "ddp_segments": Method("ddp"),
    "ddp_model": Method("ddp", partition="model"),
}
LAYUP = ("push_sum_host", "pairwise_mpi4jax")
DEFAULT = "pairwise_mpi4jax"
DDP = ("ddp_segments", "ddp_model")
RIVALS = ("torch_ddp", "jax_distributed", "decent_dp")
_ALONE = "torch_local"


class Measured(NamedTuple):
    """Of one run.

    Attributes:
      samples_per_second: of all workers together.
      peak_rss_bytes: greatest over workers.
      messages_sent: sum over workers.
      segments: of the partition that was chosen; None, as the two before, of rivals.
    """

    samples_per_second: float
    peak_rss_bytes: int | None = None
    messages_sent: int | None = None
    segments: int | None = None


Rounds = dict[str, list[Measured]]


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All methods, with and without a straggler, in turn."""
    measures: dict[str, Callable[[int], Measured]] = {}
    with tempfile.TemporaryDirectory(prefix="layup-throughput-") as folder:
        for name, method in METHODS.items():
            run = partial(measure_method, method, options, Path(folder))
            measures[name] = partial(run, straggler=False)
            measures[f"{name}_straggler"] = partial(run, straggler=True)
        for name in rivals.available():
            run = partial(measure_rival, name, options)
            measures[name] = partial(run, straggler=False)
            if name != _ALONE:
                measures[f"{name}_straggler"] = partial(run, straggler=True)
        values = paired_rounds(measures, rounds=options.rounds, seed=options.seed)
    return {
        **summarise(values),
        "workers": options.workers,
        "run_seconds": options.seconds,
        "delay_seconds": _DELAY_SECONDS,
        "rival_versions": rivals.versions(),
    }


def measure_method(
    method: Method, options: argparse.Namespace, folder: Path, seed: int, *, straggler: bool
) -> Measured:
    """One run of `layup train`, in a folder that all runs share.

    Raises:
      ExperimentError: it did not finish.
    """
    overrides = [
        *method.overrides(),
        f"--config.seed={seed}",
        f"--config.stop.seconds={options.seconds}",
    ]
    if straggler:
        overrides.append(f"--config.delay.ranks=({options.workers - 1},)")
        overrides.append(f"--config.delay.seconds={_DELAY_SECONDS}")
    summary = train(
        _CONFIG, overrides, folder=folder, workers=options.workers, seconds=options.seconds
    )
    return Measured(
        summary.samples_per_second,
        summary.peak_rss_bytes,
        summary.messages_sent,
        summary.segments,
    )


def measure_rival(
    name: str, options: argparse.Namespace, _seed: int, *, straggler: bool
) -> Measured:
    """One run of something else, which has its own seed."""
    sys.stderr.write(f"{name}{' with a straggler' if straggler else ''}\n")
    speed = rivals.measure(
        name, seconds=options.seconds, straggler=straggler, workers=options.workers
    )
    return Measured(speed)


def summarise(values: Rounds) -> dict[str, Any]:
    """Medians over rounds, of ratios within a round, from what every run gave.

    DDP is in each round the better of its two forms: segment by segment during the backward pass, or one
    sum after a fused step.
    """
    speeds = {name: [each.samples_per_second for each in runs] for name, runs in values.items()}
    memory = {name: [each.peak_rss_bytes for each in runs] for name, runs in values.items()}
    for suffix in ("", "_straggler"):
        forms = zip(*(speeds[name + suffix] for name in DDP), strict=True)
        speeds["ddp" + suffix] = [max(each) for each in forms]

    def ratios(numbers, below: str, suffix: str = "") -> dict[str, float]:
        return {
            name: median_ratio(numbers[name + suffix], numbers[below + suffix]) for name in LAYUP
        }

    def over(above: str, below: str, suffix: str = "") -> float | None:
        """None where one of them was not run."""
        pair = [speeds.get(name + suffix) for name in (above, below)]
        return None if None in pair else median_ratio(*pair)

    def medians(suffix: str) -> dict[str, float]:
        names = (*METHODS, _ALONE, *RIVALS)
        return {
            name: statistics.median(speeds[name + suffix])
            for name in names
            if name + suffix in speeds
        }

    return {
        "layup_over_ddp": over(DEFAULT, "ddp"),
        "layup_over_ddp_straggler": over(DEFAULT, "ddp", "_straggler"),
        "ddp_efficiency": over("ddp", "fused"),
        "torch_ddp_efficiency": over("torch_ddp", _ALONE),
        **{
            f"layup_over_{name}{suffix}": over(DEFAULT, name, suffix)
            for name in RIVALS
            for suffix in ("", "_straggler")
        },
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
    if options.smoke:
        options.rounds = 1
    if options.workers < 2:
        raise ExperimentError(f"--workers must be at least 2, got {options.workers}; raise it")
    return measure(options)


if __name__ == "__main__":
    sys.exit(main(Experiment(_parser(), _measure, PICTURES)))
