"""How many forward and how many backward threads: the choice of `threads.ratio="auto"`.

    tuner = Tuner(measure_passes(engine, batch, delays), cores=2)
    tuner.first.ratio, tuner.first.reason          # Ratio(1, 2, 1), why
    tuner.look_again(ratio, forward_seconds, backward_seconds)     # a better one, or None

The papers leave the best ratio open. The answer here: F forward threads make F / f tapes a second, B
backward threads use up B / b, and C cores do at most C / (f + b) steps a second (f, b: seconds of a pass
on a core of its own). So the most that F : B can do is

    X(F, B) = min(F / f, B / b, C / (f + b))

and the best is the fewest threads that come within a few per cent of the largest X: fewer tapes are
then under way, so gradients are fresher. On a device that runs one kernel at a time C is 1, 1:1 best.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import jax

from layup_jax.engine.engine import Engine, Moment
from layup_jax.pipeline.delays import Delays
from layup_jax.types import PyTree

_MOST_THREADS = 16
_ENOUGH = 0.97  # of the most that any ratio can do
_WORTH_CHANGING = 1.1
_REPEATS = 7


class Ratio(NamedTuple):
    """Numbers of threads, and of places in the queue between them."""

    forward: int
    backward: int
    queue: int

    def __str__(self) -> str:
        return f"{self.forward}:{self.backward}, queue {self.queue}"


class Choice(NamedTuple):
    """A ratio, and in words why."""

    ratio: Ratio
    reason: str


class Measured(NamedTuple):
    """Of one forward and one backward pass alone on the machine.

    Attributes:
      forward_seconds: from start to end.
      backward_seconds: likewise, updates included.
      core_seconds: of all cores for both; more than their sum where one operation uses several.
    """

    forward_seconds: float
    backward_seconds: float
    core_seconds: float


def predicted(measured: Measured, cores: int, forward: int, backward: int) -> float:
    """X(F, B) above: the most steps a second that so many threads can do."""
    return min(
        forward / measured.forward_seconds,
        backward / measured.backward_seconds,
        cores / measured.core_seconds,
    )


def enough_places(forward: int, backward: int) -> int:
    """A place for each forward thread to work for, and a tape for each backward thread to find."""
    return max(forward, backward)


def best(measured: Measured, cores: int, queue: int | None = None) -> Choice:
    """The fewest threads that do nearly as much as any number.

    Args:
      measured: passes alone.
      cores: C.
      queue: places; None is `enough_places`.
    """
    most = min(_MOST_THREADS, 2 * cores + 2)
    ratios = [
        (forward, backward)
        for forward in range(1, most)
        for backward in range(1, most - forward + 1)
    ]
    speeds = {each: predicted(measured, cores, *each) for each in ratios}
    enough = _ENOUGH * max(speeds.values())
    forward, backward = min(
        (each for each in ratios if speeds[each] >= enough), key=lambda each: (sum(each), each)
    )
    beta = measured.backward_seconds / measured.forward_seconds
    alone = 1 / (measured.forward_seconds + measured.backward_seconds)
    reason = (
        f"{forward}:{backward} because a forward pass takes {measured.forward_seconds * 1e3:.2f} ms, a "
        f"backward pass {beta:.2f} times as long on {cores} core{'s' * (cores > 1)}: at most "
        f"{speeds[forward, backward] / alone:.2f} times the steps of one thread"
    )
    return Choice(Ratio(forward, backward, queue or enough_places(forward, backward)), reason)


class Tuner:
    """The choice at the start, and second thoughts. Threads: one.

    Attributes:
      first: the choice at the start.
    """

    def __init__(self, measured: Measured, cores: int, queue: int | None = None):
        """Takes what was measured before anything ran beside it, and what `best` does."""
        self._measured = measured
        self._cores = cores
        self._queue = queue
        self.first = best(measured, cores, queue)

    def look_again(
        self, ratio: Ratio, forward_seconds: float, backward_seconds: float
    ) -> Choice | None:
        """A ratio that promises at least a tenth more, given what passes take while they run.

        Args:
          ratio: in use.
          forward_seconds: mean of a pass, with everything that runs beside it.
          backward_seconds: likewise; what both share of waiting for cores cancels, for they are used for
            their ratio only.
        """
        alone = self._measured.forward_seconds + self._measured.backward_seconds
        share = forward_seconds / (forward_seconds + backward_seconds)
        measured = self._measured._replace(
            forward_seconds=alone * share, backward_seconds=alone * (1 - share)
        )
        choice = best(measured, self._cores, self._queue)
        now = predicted(measured, self._cores, ratio.forward, ratio.backward)
        then = predicted(measured, self._cores, choice.ratio.forward, choice.ratio.backward)
        return choice if then >= _WORTH_CHANGING * now else None


def measure_passes(engine: Engine, batch: PyTree, delays: Delays) -> Measured:
    """Runs a few forward and backward passes on states made for it, on the calling thread.

    Args:
      engine: whose functions are compiled and used.
      batch: as in training.
      delays: are added, without sleeping: they lengthen passes, and leave the cores free.
    """
    states = list(engine.init())
    moment = Moment(0, 0, 0)

    def forward():
        outputs, tape = batch.inputs, []
        for segment, state in enumerate(states):
            tape.append(engine.forward(segment, state, outputs, batch, moment)[1])
            outputs = tape[-1].outputs
        return tape

    def backward():
        tape, cotangent = made[0], None
        for segment in reversed(range(len(engine))):
            gradient, cotangent = engine.gradient(segment, tape[segment], cotangent)
            states[segment] = engine.apply(segment, states[segment], gradient, 0.0)
        return states

    made = [forward()]
    forward_seconds, forward_cores = _median_seconds(forward)
    backward_seconds, backward_cores = _median_seconds(backward)
    return Measured(
        delays.of_forward(forward_seconds),
        delays.of_backward(backward_seconds),
        forward_cores + backward_cores,
    )


def _median_seconds(run: Callable[[], PyTree]) -> tuple[float, float]:
    """Of the clock, and of all cores of this process, but no less than that."""
    jax.block_until_ready(run())
    times = []
    for _ in range(_REPEATS):
        start, busy = time.perf_counter(), time.process_time()
        jax.block_until_ready(run())
        times.append((time.perf_counter() - start, time.process_time() - busy))
    seconds, cores = (statistics.median(each) for each in zip(*times, strict=True))
    return seconds, max(seconds, cores)
