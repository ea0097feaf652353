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
from experiments.report import median_ratio
from experiments.step_overhead.measure import CASES, Job
from experiments.step_overhead.plot import PICTURES

_TIMEOUT_SECONDS = 1800.0
_SMOKE_SECONDS = 0.05


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All cases, one after the other."""
    seconds = _SMOKE_SECONDS if options.smoke else Job._field_defaults["seconds"]
    return {
        name: measure_case(Job(name, "cores", None, options.rounds, seconds, options.seed))
        for name in options.cases
    }


def measure_case(job: Job) -> dict[str, Any]:
    """One case in four processes: steps bound and unbound, compilation both ways."""
    compiled = {spec: _run(job._replace(compile=spec)) for spec in ("layer", "model")}
    steps = {"bound": _run(job), "unbound": _run(job._replace(bind="none"))}
    return summarise(compiled, steps)


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
    what = f"compiling {job.case}" if job.compile else f"timing {job.case} ({job.bind})"
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
