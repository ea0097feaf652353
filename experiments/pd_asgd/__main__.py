"""PD-ASGD: what decoupling forward and backward passes gains on two cores, and what staleness costs.

    python -m experiments.pd_asgd --out experiments/pd_asgd/results

Times: interleaved and decoupled schedules in one process, in turn, XLA held to one thread for each.
Accuracy: `layup train --config=configs/digits.py:NAME`, several seeds, the same number of samples each;
bits per byte: the same with configs/stdlib_gpt.py.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from experiments import harness
from experiments.pd_asgd.bias import Job as BiasJob
from experiments.pd_asgd.plot import PICTURES
from experiments.pd_asgd.timing import AUTO, CASES, RATIOS, REFERENCE, Job
from experiments.report import earlier, median_ratio
from layup_jax.host import jax_platform
from layup_jax.staleness import predicted_delay

DEFAULT = "1:2"
HEADLINE = "conv"
_ONE_THREAD = ("env", "NPROC=1", "XLA_FLAGS=--xla_cpu_multi_thread_eigen=false")
_TIMEOUT_SECONDS = 1800.0
_RUN_SECONDS = 600.0


class Method(NamedTuple):
    """A training run: what stands after the colon of the configuration, overrides, workers."""

    name: str
    overrides: tuple[str, ...] = ()
    workers: int = 1


def _decoupled(ratio: str, partition: str, *more: str) -> Method:
    return Method(
        "pd_asgd", (f"--config.threads.ratio={ratio}", f"--config.partition={partition}", *more)
    )


_LAYER_WISE: dict[str, Method] = {
    "synchronous SGD": Method("local", ("--config.partition=layer",)),
    **{f"PD-ASGD {ratio}": _decoupled(ratio, "layer") for ratio in (*RATIOS, AUTO)},
}
_WHOLE_MODEL = {f"D-ASGD {ratio}": _decoupled(ratio, "model") for ratio in RATIOS}


class Quality(NamedTuple):
    """What is trained to the end, and the number of the summary by which it is judged."""

    config: str
    overrides: tuple[str, ...]
    measure: str
    methods: Mapping[str, Method]


QUALITIES = {
    "accuracy": Quality(
        "configs/digits.py",
        (),
        "test_accuracy",
        {
            **_LAYER_WISE,
            "PD-ASGD 1:2, live weights": _decoupled(
                "1:2", "layer", "--config.threads.weights=live"
            ),
            **_WHOLE_MODEL,
            "Hogwild!, 2 threads": Method("hogwild"),
            "LAP-SGD, 2 threads": Method("lap_sgd"),
            "LPP-SGD, 2 threads": Method("lpp_sgd"),
            "DDP, 4 workers": Method("ddp", workers=4),
            "PD-ASGD, LayUp's gossip, 4 workers": Method("pd_asgd", workers=4),
            "PD-ASGD, LAP-SGD's averager, 4 workers": Method(
                "lap_sgd", ("--config.pipeline=decoupled",), 4
            ),
            "LAP-SGD, 4 workers": Method("lap_sgd", workers=4),
            "LPP-SGD, 4 workers": Method("lpp_sgd", workers=4),
        },
    ),
    # One worker: 600 steps of 16 x 128 bytes, at a rate that stale gradients of a transformer stand.
    "text": Quality(
        "configs/stdlib_gpt.py",
        (
            "--config.model.options.depth=2",
            "--config.model.options.width=64",
            "--config.model.options.heads=4",
            "--config.batch_size=16",
            "--config.stop.steps=600",
            "--config.optimizer.learning_rate=3e-4",
        ),
        "test_loss",
        {
            **{name: each for name, each in _LAYER_WISE.items() if not name.endswith(AUTO)},
            "D-ASGD 1:2": _WHOLE_MODEL["D-ASGD 1:2"],
        },
    ),
}


def measure(options: argparse.Namespace) -> Mapping[str, Any]:
    """The parts asked for, beside those that were measured before."""
    return {
        **earlier(options.out, smoke=options.smoke),
        **{key: value for part in options.parts for key, value in _PARTS[part](options).items()},
    }


def _times(options: argparse.Namespace) -> dict[str, Any]:
    """Of all networks, and the three numbers at the top of results.json."""
    cases = {name: summarise_case(timed(_job(name, options))) for name in CASES}
    return {**headline(cases[HEADLINE]), "cases": cases}


def _bias(options: argparse.Namespace) -> dict[str, Any]:
    """On two runs."""
    rates = (0.01,) if options.smoke else (0.01, 0.003)
    steps = 10 if options.smoke else BiasJob._field_defaults["steps"]
    return {"bias": [_biased(BiasJob(rate, steps, options.seed)) for rate in rates]}


def headline(case: Mapping[str, Any]) -> dict[str, float]:
    """The three numbers of the convolutional network, layer by layer."""
    rows = case["schedules"]
    default = rows[f"{DEFAULT} layer"]
    return {
        "decoupled_over_interleaved": default["over_interleaved"],
        "staleness_measured_over_predicted": default["staleness_measured_over_predicted"],
        "auto_over_best": case["auto_over_best"],
    }


def summarise_case(measured: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of one network, from what its process printed."""
    blocks = measured["blocks"]
    rows = {name: _row(name, measured) for name in blocks}
    layer = {ratio: _seconds(blocks[f"{ratio} layer"]) for ratio in (*RATIOS, AUTO)}
    best = min(RATIOS, key=lambda ratio: statistics.median(layer[ratio]))
    return {
        "backward_over_forward": rows["1:1 layer"]["beta"],
        "best_ratio": best,
        "auto_over_best": median_ratio(layer[best], layer[AUTO]),
        "auto": measured["reasons"][f"{AUTO} layer"],
        **{
            name: measured[name]
            for name in (
                "batch_size",
                "segments",
                "cores",
                "step_flops",
                "peak_flops_per_core",
                "passes_alone",
            )
        },
        "schedules": rows,
    }


def _seconds(blocks: Sequence[Mapping[str, float]]) -> list[float]:
    return [block["step_seconds"] for block in blocks]


def _row(name: str, measured: Mapping[str, Any]) -> dict[str, Any]:
    """One schedule: medians over blocks, ratios within rounds."""
    blocks, partition = measured["blocks"][name], name.rpartition(" ")[2]
    seconds = _seconds(blocks)
    reference = _seconds(measured["blocks"][f"{REFERENCE} {partition}"])
    step_seconds = statistics.median(seconds)
    flops, peak = measured["step_flops"], measured["peak_flops_per_core"]
    is_known = flops is not None and peak is not None
    row = {
        "schedule": measured["schedules"][name],
        "step_seconds": step_seconds,
        "samples_per_second": measured["batch_size"] / step_seconds,
        "mfu": flops / step_seconds / (peak * measured["cores"]) if is_known else None,
        "over_interleaved": median_ratio(reference, seconds),
        "cores_busy": statistics.median(block["cores_busy"] for block in blocks),
        "staleness_histogram": measured["staleness_histograms"][name],
        "rounds": blocks,
    }
    if blocks[0]["forward_seconds"] is None:
        return row
    times = {
        key: statistics.median(block[key] for block in blocks)
        for key in (
            "forward_seconds",
            "backward_seconds",
            "full_seconds",
            "empty_seconds",
            "slot_seconds",
        )
    }
    segments = 1 if partition == "model" else measured["segments"]
    delay = blocks[-1]["delay_seconds"]  # a mean since the start
    forward = statistics.fmean(block["forward_seconds"] for block in blocks)
    backward = statistics.fmean(block["backward_seconds"] for block in blocks)
    predicted = predicted_delay(forward, backward, segments)
    return (
        row
        | times
        | {
            "beta": backward / forward,
            "update_delay_seconds": delay,
            "update_delay_predicted_seconds": predicted,
            "staleness_measured_over_predicted": delay / predicted,
            "staleness_versions_mean": _mean_of(measured["staleness_histograms"][name]),
        }
    )


def _mean_of(histogram: Sequence[Sequence[int]]) -> float:
    counts = [sum(column) for column in zip(*histogram, strict=True)]
    return sum(versions * count for versions, count in enumerate(counts)) / sum(counts)


def _job(case: str, options: argparse.Namespace) -> Job:
    settle = options.steps if options.smoke else Job._field_defaults["settle_steps"]
    return Job(case, options.rounds, options.steps, options.seed, settle_steps=settle)


def timed(job: Job, compiled: Path | None = None) -> Any:
    """What a process of `timing` prints.

    Args:
      job: what it does.
      compiled: as `harness.run_process` takes it.
    """
    sys.stderr.write(f"timing {job.case} ...\n")
    held = _ONE_THREAD if jax_platform() == "cpu" else ()
    command = [*held, sys.executable, "-m", "experiments.pd_asgd.timing"]
    output = harness.run_process(
        [*command, json.dumps(job._asdict())],
        what=f"timing {job.case}",
        timeout_seconds=_TIMEOUT_SECONDS,
        compiled=compiled,
    )
    return json.loads(output)


def _biased(job: BiasJob) -> Any:
    sys.stderr.write(f"measuring the bias at learning rate {job.learning_rate} ...\n")
    command = [*_ONE_THREAD, sys.executable, "-m", "experiments.pd_asgd.bias"]
    output = harness.run_process(
        [*command, json.dumps(job._asdict())],
        what="measuring the bias",
        timeout_seconds=_TIMEOUT_SECONDS,
    )
    return json.loads(output)


def _trained(part: str, options: argparse.Namespace) -> dict[str, Any]:
    quality = QUALITIES[part]
    names = list(quality.methods)[:2] if options.smoke else list(quality.methods)
    with tempfile.TemporaryDirectory(prefix="layup-pd-asgd-") as folder:
        rounds = harness.paired_rounds(
            {name: partial(_run, quality, name, Path(folder)) for name in names},
            rounds=1 if options.smoke else options.seeds,
            seed=options.seed,
        )
    return {part: {name: summarise_runs(runs, quality.measure) for name, runs in rounds.items()}}


def summarise_runs(runs: Sequence[Mapping[str, float]], measure: str) -> dict[str, Any]:
    """Mean and sample standard deviation over seeds of what `measure` names."""
    found = [run[measure] for run in runs]
    return {
        measure: statistics.fmean(found),
        "spread": statistics.stdev(found) if len(found) > 1 else None,
        "staleness_mean": statistics.fmean(run["staleness_mean"] for run in runs),
        "runs": list(runs),
    }


def _run(quality: Quality, name: str, folder: Path, seed: int) -> dict[str, float]:
    method = quality.methods[name]
    summary = harness.train(
        f"{quality.config}:{method.name}",
        [
            f"--config.seed={seed}",
            "--config.evaluation.every_steps=0",
            *quality.overrides,
            *method.overrides,
        ],
        folder=folder,
        workers=method.workers,
        seconds=_RUN_SECONDS,
    )
    found = getattr(summary, quality.measure)
    if found is None:
        raise harness.ExperimentError(
            f"{name} must be evaluated, got no {quality.measure}; run it by hand"
        )
    return {
        quality.measure: found,
        "staleness_mean": summary.staleness_mean,
        "samples": summary.samples_total,
        "samples_per_second": summary.samples_per_second,
    }


_PARTS: Mapping[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "times": _times,
    "bias": _bias,
    **{name: partial(_trained, name) for name in QUALITIES},
}


def _parser() -> argparse.ArgumentParser:
    parser = harness.arguments("pd_asgd", __doc__, rounds=15)
    parser.add_argument(
        "--parts",
        type=harness.names_among(_PARTS),
        default=tuple(_PARTS),
        metavar="A,B",
        help=f"to measure, of {', '.join(_PARTS)}; others stay as they were; default: all",
    )
    parser.add_argument(
        "--steps", type=harness.positive(int), metavar="N", help="of a block, default: 30"
    )
    parser.add_argument("--seeds", type=harness.positive(int), default=5, metavar="N")
    return parser


def _measure(options: argparse.Namespace) -> Mapping[str, Any]:
    if options.steps is None:
        options.steps = 3 if options.smoke else 30
    return measure(options)


if __name__ == "__main__":
    sys.exit(harness.main(harness.Experiment(_parser(), _measure, PICTURES)))
