"""What the threads of a schedule spend their time on, without what they wait for each other.

    watch.start()
    ...
    watch.lap("forward")          # what has passed since the start or the last lap of this thread
    watch.seconds()               # {"forward": 1.25}, of all threads

A lap costs about a microsecond.
"""

from __future__ import annotations

import threading
import time
from collections import Counter

from layup_jax.store import ParameterStore


class Stopwatch:
    """Seconds by cause. Threads: any; each has laps of its own."""

    def __init__(self, store: ParameterStore):
        """Takes the store whose waits are left out."""
        self._store = store
        self._own = threading.local()
        self._totals: list[Counter[str]] = []

    def start(self) -> None:
        """Begins a lap of the calling thread."""
        if not hasattr(self._own, "totals"):
            self._own.totals = Counter()
            self._totals.append(self._own.totals)
        self._own.last = self._now()

    def lap(self, cause: str) -> None:
        """Ends a lap, and begins the next."""
        now = self._now()
        self._own.totals[cause] += now - self._own.last
        self._own.last = now

    def seconds(self) -> dict[str, float]:
        """Of all threads so far."""
        return dict(sum((Counter(each) for each in list(self._totals)), Counter()))

    def _now(self) -> float:
        """A clock of the thread that stands still while it waits."""
        return time.perf_counter() - self._store.waited_seconds((threading.get_ident(),))
