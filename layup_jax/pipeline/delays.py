"""Artificial time of passes: an emulated accelerator, and stragglers.

    delays.before_forward(step)                          # a straggler's pause
    outputs = delays.slowed(run, segment, ...)           # as much slower as the slowdown says
    delays.in_forward(segment)                           # what the emulated accelerator takes
    ...
    delays.in_backward(segment)                          # before the update, and so before its message
    result = delays.update(store, segment, write)

A segment that computes for r seconds and is emulated for e takes slowdown (r + e) seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax

from layup_jax.pauses import Pauses
from layup_jax.store import ParameterStore
from layup_jax.types import SegmentState

T = TypeVar("T")


class Emulated(NamedTuple):
    """Seconds that passes take on top of what they compute, by segment; () for none."""

    forward_seconds: tuple[float, ...] = ()
    backward_seconds: tuple[float, ...] = ()

    @property
    def seconds(self) -> float:
        """Of a step: all passes of all segments."""
        return sum(self.forward_seconds) + sum(self.backward_seconds)


class TimeSource(NamedTuple):
    """What is slept and measured with."""

    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.perf_counter


class Delays(NamedTuple):
    """When the passes of one worker sleep, and for how long.

    Threads: any. Blocks: while it sleeps; never under a lock of the store.

    Attributes:
      forward: before the forward pass of each step.
      backward: before the backward pass of each step.
      emulated: in the passes of each segment.
      slowdown: that passes take so many times as long; at least 1.
      source: tests have one that does not wait.
    """

    forward: Pauses = Pauses()
    backward: Pauses = Pauses()
    emulated: Emulated = Emulated()
    slowdown: float = 1.0
    source: TimeSource = TimeSource()

    def before_forward(self, step: int) -> None:
        """Sleeps before the forward pass of a step."""
        self._sleep(self.forward.seconds_of(step))

    def before_backward(self, step: int) -> None:
        """Sleeps before the backward pass of a step."""
        self._sleep(self.backward.seconds_of(step))

    def in_forward(self, segment: int) -> None:
        """Sleeps in the forward pass of a segment."""
        if self.emulated.forward_seconds:
            self._sleep(self.slowdown * self.emulated.forward_seconds[segment])

    def in_backward(self, segment: int) -> None:
        """Sleeps in the backward pass of a segment."""
        if self.emulated.backward_seconds:
            self._sleep(self.slowdown * self.emulated.backward_seconds[segment])

    def slowed(self, run: Callable[..., T], *arguments: object) -> T:
        """Calls `run`, and sleeps for what its computation should have taken longer."""
        if not self._stretches:
            return run(*arguments)
        result, seconds = self._measured(lambda: run(*arguments))
        self._sleep((self.slowdown - 1) * seconds)
        return result

    def update(
        self,
        store: ParameterStore,
        segment: int,
        write: Callable[[SegmentState], tuple[SegmentState, T]],
    ) -> tuple[T, int]:
        """`ParameterStore.update`, slowed; waiting for other writers is not computation."""
        if not self._stretches:
            return store.update(segment, write)
        times = []

        def measured(state: SegmentState) -> tuple[SegmentState, T]:
            result, seconds = self._measured(lambda: write(state))
            times.append(seconds)
            return result

        found = store.update(segment, measured)
        self._sleep((self.slowdown - 1) * times[0])
        return found

    def of_forward(self, seconds: float) -> float:
        """What a forward pass of all segments takes that computes for so many seconds."""
        return self.slowdown * (seconds + sum(self.emulated.forward_seconds))

    def of_backward(self, seconds: float) -> float:
        """The same of a backward pass."""
        return self.slowdown * (seconds + sum(self.emulated.backward_seconds))

    @property
    def _stretches(self) -> bool:
        """Whether computation is to be waited for, where its dispatch is asynchronous."""
        return self.slowdown > 1 or self.emulated != Emulated()

    def _measured(self, run: Callable[[], T]) -> tuple[T, float]:
        start = self.source.now()
        result = jax.block_until_ready(run())
        return result, self.source.now() - start

    def _sleep(self, seconds: float) -> None:
        if seconds > 0:
            self.source.sleep(seconds)
