"""What a step costs, and where the time of steps went: MFU and the split of time in the summary.

    costs = measure_costs(task, engine, pipeline, work)      # rank 0, before training
    utilization(flops, seconds, peak)
    split(spent_seconds, costs, steps)                       # {"forward": 0.002, ...}, a step

Time is only split where the host knows it: on CPUs whose dispatch is synchronous, as `layup train` makes
it. Elsewhere a call returns before anything is computed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

import jax

from layup_jax.engine.engine import Engine
from layup_jax.engine.flops import step_flops
from layup_jax.engine.measure import measure_update
from layup_jax.metrics.records import TIME_CAUSES
from layup_jax.pipeline.base import Pipeline, Work
from layup_jax.task import Task
from layup_jax.tree import num_parameters

_STEPS_SECONDS = 0.1
_PASSES = ("forward", "turn", "backward")


class Costs(NamedTuple):
    """Of one step of one worker.

    Attributes:
      flops: that the model needs for `samples`; None if they cannot be counted.
      samples: of a batch.
      update_share: of the time of a step, taken by its updates; None where it was not measured.
      turned_share: of all parameters, in the last segment.
    """

    flops: float | None
    samples: int
    update_share: float | None
    turned_share: float


def measure_costs(
    task: Task, engine: Engine, pipeline: Pipeline, work: Work, *, asleep_seconds: float = 0.0
) -> Costs:
    """Counts operations and, where time will be split, takes a few steps.

    Args:
      task: what is trained.
      engine: of the run.
      pipeline: warmed up.
      work: as in training; the store is changed.
      asleep_seconds: of a step while training, on an emulated accelerator.
    """
    sizes = [num_parameters(segment.init()[0]) for segment in engine.segments]
    return Costs(
        flops=step_flops(task.model, task.loss, work.batch),
        samples=work.samples,
        update_share=(
            _update_share(engine, pipeline, work, asleep_seconds) if is_synchronous() else None
        ),
        turned_share=sizes[-1] / max(sum(sizes), 1),
    )


def is_synchronous() -> bool:
    """Whether the host's time is that of the computation."""
    on_cpu = jax.local_devices()[0].platform == "cpu"
    return on_cpu and not jax.config.read("jax_cpu_enable_async_dispatch")


def utilization(flops: float, seconds: float, peak_flops_per_second: float | None) -> float | None:
    """MFU: the share of what the hardware could have done; None if that is not known."""
    if not peak_flops_per_second or seconds <= 0:
        return None
    return flops / (seconds * peak_flops_per_second)


def split(spent: Mapping[str, float], costs: Costs, steps: int) -> dict[str, float]:
    """Seconds of a step by cause, updates apart from the passes in which they were taken.

    Args:
      spent: seconds in all, by cause in `TIME_CAUSES`, without `update`.
      costs: measured.
      steps: of the worker.
    """
    seconds = dict.fromkeys(TIME_CAUSES, 0.0) | dict(spent)
    update = (costs.update_share or 0.0) * sum(seconds[each] for each in _PASSES)
    turned = update * costs.turned_share if seconds["turn"] else 0.0
    for cause, part in (("turn", turned), ("backward", update - turned)):
        taken = min(part, seconds[cause])
        seconds[cause] -= taken
        seconds["update"] += taken
    return {cause: each / max(steps, 1) for cause, each in seconds.items()}


def _update_share(engine: Engine, pipeline: Pipeline, work: Work, asleep_seconds: float) -> float:
    return min(1.0, measure_update(engine) / (_step_seconds(pipeline, work) + asleep_seconds))


def _step_seconds(pipeline: Pipeline, work: Work) -> float:
    """Processor time, so that it does not matter who else wants the cores; the fastest of a few steps."""
    fastest, end = float("inf"), time.perf_counter() + _STEPS_SECONDS
    while True:
        start = time.process_time()
        steps = pipeline.warm_up(work)
        fastest = min(fastest, (time.process_time() - start) / steps)
        if time.perf_counter() >= end:
            return fastest
