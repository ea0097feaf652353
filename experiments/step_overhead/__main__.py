"""A training step layer by layer, against the same step as one fused call with donated arguments.

    python -m experiments.step_overhead --out experiments/step_overhead/results

At the size of the papers, on one GPU:

    python -m experiments.step_overhead --out DIR --cases resnet50,gpt2 --compute_dtype bfloat16
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from experiments.harness import (
    Experiment,
    ExperimentError,
    arguments,
    main,
    run_process,
)
from experiments.report import beside, earlier, median_ratio
from experiments.step_overhead.measure import CASES, LARGE, Job
from experiments.step_overhead.plot import PICTURES
from layup_jax.host import jax_platform

_TIMEOUT_SECONDS = 1800.0
_SMOKE_SECONDS = 0.05
_BOTH = ("layer", "model")
_BINDS = ("cores", "none")
_NAMES = {"cores": "bound", "none": "unbound"}  # in results.json


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The cases asked for, one after the other, among those that were measured before."""
    seconds = _SMOKE_SECONDS if options.smoke else Job._field_defaults["seconds"]
    measured = {"seconds": seconds, "compute_dtype": options.compute_dtype}
    cases = {
        name: measure_case(Job(name, "cores", rounds=options.rounds, seed=options.seed, **measured))
        for name in options.cases
    }
    return beside(earlier(options.out, smoke=options.smoke), cases, CASES | LARGE)


def measure_case(job: Job) -> dict[str, Any]:
    """One case in processes of its own: steps, compilation and memory both ways.

    On CPUs steps are timed bound to one core and unbound. An accelerator leaves the cores free, so
    nothing is bound; its compiler takes minutes, so what compiles first, the timing of steps, is timed
    at that too, and the other processes find what it has compiled.
    """
    binds = _BINDS if jax_platform() == "cpu" else _BINDS[-1:]
    job = job._replace(bind=binds[0])
    with tempfile.TemporaryDirectory(prefix="layup-step-") as folder:
        run = partial(_run, compiled=None if binds == _BINDS else Path(folder))
        steps = {_NAMES[bind]: run(job._replace(bind=bind)) for bind in binds}
        seconds = steps["unbound"]["compile_seconds"]
        if len(binds) > 1:
            seconds = {spec: run(job._replace(compile=spec)) for spec in _BOTH}
        results = {"compute_dtype": job.compute_dtype, **summarise(seconds, steps)}
        if job.network.measures_memory:
            results |= summarise_memory({spec: run(job._replace(memory=spec)) for spec in _BOTH})
    return results | _measure_depths(job)


def _measure_depths(job: Job) -> dict[str, Any]:
    """How compilation grows; nothing where a case has no depths."""
    if not job.network.depths:
        return {}
    few, many = job.network.depths
    jobs = {"few": ("layer", few), "many": ("layer", many), "fused": ("model", many)}
    deep = {
        name: _run(job._replace(compile=spec, depth=depth)) for name, (spec, depth) in jobs.items()
    }
    return summarise_depths(job.network.depths, deep)


def summarise_memory(found: dict[str, dict[str, int]]) -> dict[str, Any]:
    """Peak memory of steps, layer by layer and fused: what was measured, and what XLA counts."""
    results = {}
    for name, kind in (("peak", "measured"), ("counted", "counted")):
        layer, fused = found["layer"][kind], found["model"][kind]
        results |= {
            f"{name}_memory_bytes_layerwise": layer,
            f"{name}_memory_bytes_fused": fused,
            f"{name}_memory_over_fused": layer / fused,
        }
    return results


def summarise_depths(depths: tuple[int, ...], seconds: dict[str, float]) -> dict[str, Any]:
    """How compilation grows with the number of equal blocks."""
    few, many = depths
    return {
        f"compile_seconds_layerwise_{few}": seconds["few"],
        f"compile_seconds_layerwise_{many}": seconds["many"],
        f"compile_seconds_fused_{many}": seconds["fused"],
        f"compile_{many}_over_{few}": seconds["many"] / seconds["few"],
        f"compile_layerwise_over_fused_{many}": seconds["many"] / seconds["fused"],
    }


def summarise(compiled: dict[str, float], steps: dict[str, Any]) -> dict[str, Any]:
    """The numbers of one case, from what its processes printed.

    Args:
      compiled: seconds of compilation, by partition.
      steps: timings, "bound" and "unbound" or the second only.
    """
    rounds = {name: each["rounds"] for name, each in steps.items()}
    first = next(iter(steps.values()))
    segments = first["segments"]["layer"]
    results = {
        "compile_seconds_layerwise": compiled["layer"],
        "compile_seconds_fused": compiled["model"],
        "segments": segments,
        "jitted_calls": 2 * segments - 1,
        "rounds": rounds,
        **_steps(first["rounds"], ""),
    }
    if len(rounds) > 1:
        results |= _steps(rounds["unbound"], "_unbound")
    if "narrow_layer" in first["rounds"]:
        results |= _dispatch(first["rounds"])
    if "auto" in first["rounds"]:
        results["partition"] = first["partitions"]["auto"]
    return results


def _steps(rounds: dict[str, list[float]], suffix: str) -> dict[str, float]:
    """Times of steps and their ratios, with so many letters more in their names."""
    layer, model = rounds["layer"], rounds["model"]
    found = {
        "layerwise_over_fused": median_ratio(layer, model),
        "step_seconds_layerwise": statistics.median(layer),
        "step_seconds_fused": statistics.median(model),
    }
    if "auto" in rounds:
        found["auto_over_fused"] = median_ratio(rounds["auto"], model)
    return {f"{name}{suffix}": value for name, value in found.items()}


def _dispatch(rounds: dict[str, list[float]]) -> dict[str, float | None]:
    """What of the overhead is Python and dispatch: all of it, where there is nothing to compute.

    The narrow network has the same layers, calls and arguments with one channel each, so its own
    overhead over its own fused step is the cost of the calls; the share can exceed 1 by noise.
    """
    overhead = statistics.median(
        a - b for a, b in zip(rounds["layer"], rounds["model"], strict=True)
    )
    dispatch = statistics.median(
        a - b for a, b in zip(rounds["narrow_layer"], rounds["narrow_model"], strict=True)
    )
    return {
        "overhead_seconds": overhead,
        "dispatch_seconds": dispatch,
        "dispatch_share_of_overhead": dispatch / overhead if overhead > 0 else None,
    }


def _run(job: Job, compiled: Path | None = None) -> Any:
    what = f"timing {job.case} ({job.bind})"
    if job.compile:
        what = f"compiling {job.case}, {job.compile}, {job.depth or 'its own'} blocks"
    if job.memory:
        what = f"measuring the memory of {job.case}, {job.memory}"
    sys.stderr.write(f"{what} ...\n")
    command = [sys.executable, "-m", "experiments.step_overhead.measure", json.dumps(job._asdict())]
    return json.loads(
        run_process(command, what=what, timeout_seconds=_TIMEOUT_SECONDS, compiled=compiled)
    )


def _cases(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in CASES | LARGE:
            raise ExperimentError(f"unknown case '{name}'; use some of: {','.join(CASES | LARGE)}")
    return names


def _parser() -> argparse.ArgumentParser:
    parser = arguments("step_overhead", __doc__, rounds=9)
    parser.add_argument("--cases", type=_cases, default=list(CASES), metavar="NAME,...")
    parser.add_argument("--compute_dtype", choices=("float32", "bfloat16"), default="float32")
    return parser


if __name__ == "__main__":
    sys.exit(main(Experiment(_parser(), measure, PICTURES)))
