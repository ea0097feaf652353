"""Sums over all workers that nobody waits for: each worker contributes when it gets there.

    reduction = reductions.ask(vector)      # the compute thread, and on it goes
    if reduction.ready(): reduction.total   # later: the sum over workers
    reductions.settle()                     # at the end: everybody has asked equally often

One sum is under way at a time, so memory is bounded by what is asked and not yet summed; a worker that
is too far ahead of the others passes None, which counts as zeros made only when its turn comes.
"""

from __future__ import annotations

import threading
import time
from collections import deque

import numpy as np

from layup_jax.transport.base import Pending, Transport

_SLEEP_SECONDS = 0.001


class Reduction:
    """One sum: a ticket until it is ready.

    Attributes:
      total: the sum over workers, once ready; float32, shape as asked.
    """

    def __init__(self, vector: np.ndarray | None):
        """Takes this worker's contribution, which is overwritten by the sum; None for zeros."""
        self.total = vector
        self._ready = threading.Event()

    def ready(self) -> bool:
        """Whether `total` holds the sum."""
        return self._ready.is_set()

    def complete(self) -> None:
        """Marks the sum as ready."""
        self._ready.set()


class Reductions:
    """A queue of sums, the same on every worker.

    Threads: the compute thread asks; the communication thread advances; after it has ended, `settle`
      may be called by any one thread. Blocks: `settle` only.
    """

    def __init__(self, transport: Transport):
        """Starts empty."""
        self._transport = transport
        self._waiting: deque[Reduction] = deque()
        self._current: tuple[Reduction, Pending] | None = None
        self._asked = 0
        self._size = 0

    @property
    def outstanding(self) -> int:
        """Sums asked for and not ready."""
        return len(self._waiting) + (self._current is not None)

    def ask(self, vector: np.ndarray | None, size: int) -> Reduction:
        """Adds a sum of vectors of `size` float32 numbers to the queue."""
        reduction = Reduction(vector)
        self._size = size
        self._asked += 1
        self._waiting.append(reduction)
        return reduction

    def advance(self) -> None:
        """Completes the sum under way if it is done, and starts the next."""
        if self._current is not None and self._current[1].done():
            self._current[0].complete()
            self._current = None
        if self._current is None and self._waiting:
            reduction = self._waiting.popleft()
            if reduction.total is None:
                reduction.total = np.zeros(self._size, np.float32)
            self._current = (reduction, self._transport.all_reduce(reduction.total))

    def settle(self) -> None:
        """Lets every worker ask as often as the one that asked most, and waits for all sums."""
        counts = self._transport.gather((self._asked, self._size))
        most, self._size = max(count for count, _ in counts), max(size for _, size in counts)
        for _ in range(most - self._asked):
            self.ask(None, self._size)
        while self.outstanding:
            self.advance()
            time.sleep(_SLEEP_SECONDS)
