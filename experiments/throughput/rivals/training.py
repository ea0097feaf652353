"""The training loop and the clock that all rivals share.

    warm-up | calibration -> number of steps | measured steps | speeds are summed, rank 0 prints

Where a step waits for other workers, all must make equally many: the number is agreed on before the
clock is started, so that no step has to ask whether to stop. Elsewhere each stops on its own clock.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from experiments.throughput.rivals.digits import BATCH_SIZE, Samples, digit_batches
from experiments.throughput.rivals.task import Task

_WARM_UP_STEPS = 20  # compilation, first touch of memory, Decent-DP's lazy set-up
_CALIBRATION_STEPS = 20


class Team(NamedTuple):
    """How the workers of a method train and talk.

    Attributes:
      step: trains on one batch; on return it is done, this worker's part of it.
      total: the sum over workers of a number; nobody returns before all have come.
      is_synchronous: whether a step waits for other workers.
    """

    step: Callable[[Samples], None]
    total: Callable[[float], float]
    is_synchronous: bool


class Trained(NamedTuple):
    """What this worker did while the clock ran."""

    steps: int
    seconds: float


def report(task: Task, team: Team) -> None:
    """Trains for about `task.seconds`; rank 0 prints one line of JSON.

    Printed are `samples_per_second`, the sum over workers of their own samples over their own
    seconds, and `steps`, of all workers together.
    """
    batches = digit_batches(task.rank, task.workers)
    for samples in itertools.islice(batches, _WARM_UP_STEPS):
        team.step(samples)
    limit = _agreed_steps(task, team, batches) if team.is_synchronous else None
    trained = _train(task, team, batches, limit)
    speed = team.total(trained.steps * BATCH_SIZE / trained.seconds)
    steps = team.total(trained.steps)
    if task.rank == 0:
        line = json.dumps({"samples_per_second": speed, "steps": round(steps)})
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


def _agreed_steps(task: Task, team: Team, batches: Iterator[Samples]) -> int:
    """As many as rank 0 expects to make in the time, from a few that it makes now."""
    tried = _train(task, team, batches, _CALIBRATION_STEPS)
    expected = task.seconds * tried.steps / tried.seconds
    return max(1, round(team.total(expected if task.rank == 0 else 0.0)))


def _train(task: Task, team: Team, batches: Iterator[Samples], limit: int | None) -> Trained:
    """Trains `limit` steps, or for `task.seconds`; all workers start together."""
    team.total(0.0)
    start, steps, seconds = time.perf_counter(), 0, 0.0
    while seconds < task.seconds if limit is None else steps < limit:
        samples = next(batches)
        if task.delay_seconds:
            time.sleep(task.delay_seconds)
        team.step(samples)
        steps += 1
        seconds = time.perf_counter() - start
    return Trained(steps, seconds)
