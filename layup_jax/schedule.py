"""How a configured run schedules its passes: what "auto" means for its algorithm, and what is unwise.

schedule = configured_schedule(config)
warnings = [*unused_threads(config), too_many_threads(schedule, cores=2)]
"""

from __future__ import annotations

from layup_jax.config import RunConfig
from layup_jax.config_checks import parse_ratio, unused
from layup_jax.pipeline.make import Schedule
from layup_jax.pipeline.ratio import Ratio, enough_places
from layup_jax.pipeline.shared import SharedOptions
from layup_jax.strategies import STRATEGIES

_TAKES = {  # of config.threads
    "interleaved": (),
    "decoupled": ("ratio", "queue", "weights", "forward_devices", "backward_devices"),
    "shared": ("shared",),
}


def configured_schedule(config: RunConfig) -> Schedule:
    """The schedule of a run; names have been checked."""
    method, threads = STRATEGIES[config.strategy.name], config.threads
    name = method.pipeline if config.pipeline == "auto" else config.pipeline
    numbers = parse_ratio(threads.ratio)
    ratio = None
    if numbers is not None:
        ratio = Ratio(*numbers, threads.queue or enough_places(*numbers))
    return Schedule(
        name=name,
        ratio=ratio,
        queue=threads.queue,
        weights=threads.weights,
        forward_devices=threads.forward_devices,
        backward_devices=threads.backward_devices,
        shared=SharedOptions(
            threads.shared,
            own_momentum=method.own_momentum,
            partial_from=threads.partial_from if method.is_partial else None,
        ),
    )


def unused_threads(config: RunConfig) -> list[str]:
    """Sentences about options of threads that the run's schedule does not look at."""
    schedule = configured_schedule(config)
    partial = ("partial_from",) if schedule.is_partial else ()
    takes = _TAKES[schedule.name] + partial
    return unused(f"the pipeline {schedule.name}", "threads", config.threads, takes)


def too_many_threads(schedule: Schedule, cores: int) -> str | None:
    """A sentence about more threads than so many cores can use; None if there are not."""
    if schedule.name == "shared":
        threads, remedy = schedule.shared.threads, "lower config.threads.shared"
    elif schedule.name == "decoupled" and schedule.ratio is not None:
        threads = schedule.ratio.forward + schedule.ratio.backward
        remedy = "use --config.threads.ratio=auto"
    else:
        return None
    sensible = 2 * cores + 2
    if threads <= sensible:
        return None
    return (
        f"{threads} threads on {cores} core{'s' * (cores > 1)} mostly wait for each other and make "
        f"gradients staler, got more than {sensible}; {remedy}"
    )
