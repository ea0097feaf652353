"""A training step layer by layer, against the same step as one fused call with donated arguments.

python -m experiments.step_overhead --out experiments/step_overhead/results
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from typing import Any

from experiments.harness import (
    Experiment,
    ExperimentError,
    arguments,
    main,
    run_process,
)
from experiments.report import earlier, median_ratio
from experiments.step_overhead.measure import CASES, Job
from experiments.step_overhead.plot import PICTURES

_TIMEOUT_SECONDS = 1800.0
_SMOKE_SECONDS = 0.05
_BOTH = ("layer", "model")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The cases asked for, one after the other, among those that were measured before."""
    seconds = _SMOKE_SECONDS if options.smoke else Job._field_defaults["seconds"]
    found = earlier(options.out, smoke=options.smoke)
    for name in options.cases:
        job = Job(name, "cores", rounds=options.rounds, seconds=seconds, seed=options.seed)
        found[name] = measure_case(job)
    return {name: found[name] for name in CASES if name in found}


def measure_case(job: Job) -> dict[str, Any]:
    """One case in processes of its own: steps bound and unbound, compilation and memory both ways."""
    case = CASES[job.case]
    compiled = {spec: _run(job._replace(compile=spec)) for spec in _BOTH}
    steps = {"bound": _run(job), "unbound": _run(job._replace(bind="none"))}
    results = summarise(compiled, steps)
    if case.measures_memory:
        results |= summarise_memory({spec: _run(job._replace(memory=spec)) for spec in _BOTH})
    if case.depths:
        few, many = case.depths
        jobs = {"few": ("layer", few), "many": ("layer", many), "fused": ("model", many)}
        deep = {
            name: _run(job._replace(compile=spec, depth=depth))
            for name, (spec, depth) in jobs.items()
        }
        results |= summarise_depths(case.depths, deep)
    return results


def summarise_memory(found: dict[str, int]) -> dict[str, Any]:
    """Peak resident memory of steps, layer by layer and fused."""
    return {
        "peak_memory_bytes_layerwise": found["layer"],
        "peak_memory_bytes_fused": found["model"],
        "peak_memory_over_fused": found["layer"] / found["model"],
    }


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
    """The numbers of one case, from what its processes printed."""
    bound, unbound = steps["bound"]["rounds"], steps["unbound"]["rounds"]
    segments = steps["bound"]["segments"]["layer"]
    results = {
        "layerwise_over_fused": median_ratio(bound["layer"], bound["model"]),
        "layerwise_over_fused_unbound": median_ratio(unbound["layer"], unbound["model"]),
        "step_seconds_layerwise": statistics.median(bound["layer"]),
        "step_seconds_fused": statistics.median(bound["model"]),
        "step_seconds_layerwise_unbound": statistics.median(unbound["layer"]),
        "step_seconds_fused_unbound": statistics.median(unbound["model"]),
        "compile_seconds_layerwise": compiled["layer"],
        "compile_seconds_fused": compiled["model"],
        "segments": segments,
        "jitted_calls": 2 * segments - 1,
        **_dispatch(bound),
        "rounds": {"bound": bound, "unbound": unbound},
    }
    if "auto" in bound:
        results |= {
            "auto_over_fused": median_ratio(bound["auto"], bound["model"]),
            "auto_over_fused_unbound": median_ratio(unbound["auto"], unbound["model"]),
            "partition": steps["bound"]["partitions"]["auto"],
        }
    return results


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


def _run(job: Job) -> Any:
    what = f"timing {job.case} ({job.bind})"
    if job.compile:
        what = f"compiling {job.case}, {job.compile}, {job.depth or 'its own'} blocks"
    if job.memory:
        what = f"measuring the memory of {job.case}, {job.memory}"
    sys.stderr.write(f"{what} ...\n")
    command = [sys.executable, "-m", "experiments.step_overhead.measure", json.dumps(job._asdict())]
    return json.loads(run_process(command, what=what, timeout_seconds=_TIMEOUT_SECONDS))


def _cases(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in CASES:
            raise ExperimentError(f"unknown case '{name}'; use some of: {','.join(CASES)}")
    return names


def _parser() -> argparse.ArgumentParser:
    parser = arguments("step_overhead", __doc__, rounds=9)
    parser.add_argument("--cases", type=_cases, default=list(CASES), metavar="NAME,...")
    return parser


if __name__ == "__main__":
    sys.exit(main(Experiment(_parser(), measure, PICTURES)))
