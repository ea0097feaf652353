"""Time as an argument: a clock that training reads, and that can be stopped for evaluation.

clock = WallClock()
with clock.paused():
    evaluate()
clock.now()        # seconds of training since the start, the evaluation left out
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Clock(Protocol):
    """Anything that tells the seconds of training since the start of a run."""

    def now(self) -> float:
        """Seconds; never decreases."""
        ...


class WallClock:
    """Real time since construction, less the time spent paused.

    Threads: any may call `now`; one thread at a time may pause.
    """

    def __init__(self) -> None:
        """Starts at 0."""
        self._paused_at: float | None = None
        self.restart()

    def restart(self) -> None:
        """Starts again at 0, with nothing paused yet."""
        self._origin = time.perf_counter()
        self._paused = 0.0

    def paused_seconds(self) -> float:
        """How long the clock has been stopped so far."""
        return self._paused

    def now(self) -> float:
        """Seconds of training so far."""
        paused_at = self._paused_at
        return (time.perf_counter() if paused_at is None else paused_at) - self._origin

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stops the clock for the duration of a with-block."""
        self._paused_at = time.perf_counter()
        try:
            yield
        finally:
            duration = time.perf_counter() - self._paused_at
            self._paused += duration
            self._origin += duration
            self._paused_at = None
