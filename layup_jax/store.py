"""The only mutable state of a worker: one slot for each segment, holding (SegmentState, version).

    state, version = store.read(segment)                      # a reference; never blocks
    result = store.update(segment, lambda state: (new_state, result))

States are immutable, so a reader never sees half an update: this is what lock-free layer-wise updates
look like in JAX. Writers swap a slot under that slot's own lock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

from layup_jax.types import SegmentState

T = TypeVar("T")


class Versioned(NamedTuple):
    """A state and how many writes came before it."""

    state: SegmentState
    version: int


class ParameterStore:
    """Slots of versioned segment states.

    Threads: any may call anything.
    Blocks: `read` never; `update` while another writer of the same segment is at work. A writer holds
      the lock for its dispatch only (which is the computation itself where dispatch is synchronous),
      never across a message, a wait for another worker, or a callback.
    """

    def __init__(self, states: Iterable[SegmentState]):
        """Starts every slot at version 0."""
        self._slots = [Versioned(state, 0) for state in states]
        self._locks = [threading.Lock() for _ in self._slots]
        self._waited: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._slots)

    def read(self, segment: int) -> Versioned:
        """The newest state of a segment and its version."""
        return self._slots[segment]

    def restart(self, states: Iterable[SegmentState]) -> None:
        """Puts new states into all slots, at version 0; only while nobody else is at work."""
        self._slots = [Versioned(state, 0) for state in states]

    def waited_seconds(self, threads: Iterable[int]) -> float:
        """How long these threads (their identities) have waited for other writers, in all."""
        return sum(self._waited.get(thread, 0.0) for thread in threads)

    def snapshot(self) -> tuple[SegmentState, ...]:
        """The newest state of every segment, each read by itself."""
        return tuple(slot.state for slot in self._slots)

    def update(
        self, segment: int, write: Callable[[SegmentState], tuple[SegmentState, T]]
    ) -> tuple[T, int]:
        """Replaces a state by a function of itself.

        Args:
          segment: index of the slot.
          write: state -> (new state, result); called once, under the slot's lock. Returning the very
            state it was given leaves the version as it is.

        Returns:
          (result, version that `write` was given).
        """
        lock = self._locks[segment]
        if not lock.acquire(blocking=False):
            self._wait_for(lock)
        try:
            state, version = self._slots[segment]
            after, result = write(state)
            if after is not state:
                self._slots[segment] = Versioned(after, version + 1)
        finally:
            lock.release()
        return result, version

    def _wait_for(self, lock: threading.Lock) -> None:
        start = time.perf_counter()
        lock.acquire()
        thread = threading.get_ident()
        waited = self._waited.get(thread, 0.0) + time.perf_counter() - start
        self._waited[thread] = waited
