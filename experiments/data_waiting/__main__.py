"""How long a worker waits for its data, as a share of its steps; with and without batches placed ahead.

python -m experiments.data_waiting --out experiments/data_waiting/results
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from experiments.data_waiting.measure import CASES, Job, Waited
from experiments.data_waiting.plot import PICTURES
from experiments.harness import Experiment, arguments, main, run_process
from experiments.report import median_ratio

_TIMEOUT_SECONDS = 1800.0
_SMOKE_STEPS = 4


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All cases, one after the other, each in a process of its own."""
    steps = _SMOKE_STEPS if options.smoke else Job._field_defaults["steps"]
    with tempfile.TemporaryDirectory() as folder:
        return {
            name: summarise(
                _run(Job(name, options.rounds, steps, options.seed), Path(folder) / "compiled")
            )
            for name in CASES
        }


def summarise(printed: dict[str, list[list[float]]]) -> dict[str, Any]:
    """The numbers of one case, from what its process printed."""
    runs = {name: [Waited(*each) for each in rounds] for name, rounds in printed.items()}
    results: dict[str, Any] = {}
    for name, rounds in runs.items():
        results[name] = {
            "step_seconds": statistics.median(each.step_seconds for each in rounds),
            "data_seconds": statistics.median(each.data_seconds for each in rounds),
            "data_share": statistics.median(
                each.data_seconds / each.step_seconds for each in rounds
            ),
        }
    two, none = ([each.step_seconds for each in runs[name]] for name in ("two", "none"))
    return {**results, "two_over_none": median_ratio(two, none), "rounds": printed}


def _run(job: Job, compiled: Path) -> Any:
    sys.stderr.write(f"training on {job.case} ...\n")
    command = [sys.executable, "-m", "experiments.data_waiting.measure", json.dumps(job._asdict())]
    what = f"training on {job.case}"
    output = run_process(command, what=what, timeout_seconds=_TIMEOUT_SECONDS, compiled=compiled)
    return json.loads(output.splitlines()[-1])  # above it is what TFDS says where it prepares


if __name__ == "__main__":
    parser = arguments("data_waiting", __doc__, rounds=9)
    sys.exit(main(Experiment(parser, measure, PICTURES)))
