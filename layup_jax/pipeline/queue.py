"""The host-side queue between threads: bounded, closable, and it counts who waits for whom.

    queue = BoundedQueue(2)
    queue.reserve()                 # a place; blocks while all are taken
    queue.fill(make_tape())         # the item for a reserved place
    tape = queue.take()             # the oldest; its place is free from now on

Places are reserved before an item is made, so that no more items exist than there are places.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")
_LOOK_SECONDS = 1.0  # a thread that waits looks again this often, though whoever closes wakes it


class QueueClosed(Exception):
    """The queue was closed; who gets this has nothing more to do."""


class QueueStatistics(NamedTuple):
    """Counts since the start; times in seconds, summed over threads.

    Attributes:
      taken: items.
      depth_mean: items in the queue just before one was taken.
      depth_max: likewise.
      full_seconds: waiting for a place.
      empty_seconds: waiting for an item.
    """

    taken: int
    depth_mean: float
    depth_max: int
    full_seconds: float
    empty_seconds: float


class BoundedQueue(Generic[T]):
    """First in, first out.

    Threads: any. Blocks: `reserve` and `put` while all places are taken, `take` while it is empty.
    After close: everything that is in it is dropped; all calls that would wait raise QueueClosed, but
      `fill`, which drops its item.
    """

    def __init__(self, capacity: int):
        """Starts empty, with so many places."""
        self._changed = threading.Condition()
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._places_taken = 0
        self._closed = False
        self._taken = self._depth_total = self._depth_max = 0
        self._full_seconds = self._empty_seconds = 0.0
        self._counts_from = 0.0

    def count_from_now(self) -> None:
        """Waits that are under way count from now on only: before, there was nothing to do."""
        with self._changed:
            self._counts_from = time.perf_counter()

    def reserve(self) -> None:
        """Takes a place."""
        with self._changed:
            self._full_seconds += self._wait(lambda: self._places_taken < self._capacity)
            self._places_taken += 1

    def fill(self, item: T) -> None:
        """Puts an item into the place that this thread has reserved."""
        with self._changed:
            if not self._closed:
                self._items.append(item)
                self._changed.notify_all()

    def put(self, item: T) -> None:
        """`reserve` and `fill`."""
        self.reserve()
        self.fill(item)

    def take(self) -> T:
        """Removes the oldest item, and frees its place."""
        with self._changed:
            self._empty_seconds += self._wait(lambda: bool(self._items))
            depth = len(self._items)
            self._taken += 1
            self._depth_total += depth
            self._depth_max = max(self._depth_max, depth)
            self._places_taken -= 1
            self._changed.notify_all()
            return self._items.popleft()

    def resize(self, capacity: int) -> None:
        """Changes the number of places; what is in the queue stays."""
        with self._changed:
            self._capacity = capacity
            self._changed.notify_all()

    def close(self) -> None:
        """Drops everything and wakes everybody; idempotent."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._items)

    def statistics(self) -> QueueStatistics:
        """A snapshot of the counts."""
        with self._changed:
            return QueueStatistics(
                taken=self._taken,
                depth_mean=self._depth_total / max(self._taken, 1),
                depth_max=self._depth_max,
                full_seconds=self._full_seconds,
                empty_seconds=self._empty_seconds,
            )

    def _wait(self, condition: Callable[[], bool]) -> float:
        """Seconds waited until the condition held; the lock is held before and after."""
        if condition() and not self._closed:
            return 0.0
        start = time.perf_counter()
        while not (self._closed or condition()):
            self._changed.wait(_LOOK_SECONDS)
        if self._closed:
            raise QueueClosed
        return time.perf_counter() - max(start, self._counts_from)
