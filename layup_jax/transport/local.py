"""Workers as threads of one process: for tests, for notebooks, and as the reference transport.

endpoints = local_transports(4)        # one for each worker thread
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from layup_jax.errors import PeerFailedError
from layup_jax.transport.base import Kind, Message, Pending, Summing, Swapping
from layup_jax.types import Array

T = TypeVar("T")


class _Flag:
    """A Pending that somebody else completes."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def done(self) -> bool:
        return self._event.is_set()

    def complete(self) -> None:
        self._event.set()


class _Sum:
    """One all-reduce: adds up by rank, so always to the same bits, and writes the sum into all."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._vectors: dict[int, np.ndarray] = {}
        self.flag = _Flag()

    def add(self, rank: int, vector: np.ndarray) -> None:
        self._vectors[rank] = vector
        if len(self._vectors) == self._size:
            total = np.sum([self._vectors[each] for each in range(self._size)], axis=0)
            for mine in self._vectors.values():
                mine[:] = total
            self.flag.complete()


class _Summing:
    """A sum in place, as a `Summing`."""

    def __init__(self, total: np.ndarray, flag: _Flag):
        self.total = total
        self.done = flag.done


class _Swapping:
    """A vector that the peer's next swap with this endpoint brings, as a `Swapping`."""

    def __init__(self, segment: int, arrivals: queue.SimpleQueue[tuple[int, Array]]):
        self._segment = segment
        self._arrivals = arrivals
        self.received: Array | None = None

    def done(self) -> bool:
        if self.received is None and not self._arrivals.empty():  # nobody else takes from it
            theirs, self.received = self._arrivals.get()
            assert theirs == self._segment, f"swapped segment {self._segment} for {theirs}"
        return self.received is not None


class _Hub:
    """What the endpoints of one process share."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.inboxes = [queue.SimpleQueue() for _ in range(size)]
        self.swaps = [[queue.SimpleQueue() for _ in range(size)] for _ in range(size)]
        self._meeting = threading.Condition()
        self._gathered: dict[int, dict[int, Any]] = {}
        self._is_abandoned = False
        self._lock = threading.Lock()
        self._sums: dict[tuple[str, int], _Sum] = {}
        self._arrived: dict[int, int] = {}
        self._barriers: dict[int, _Flag] = {}

    def gather(self, index: int, rank: int, value: Any) -> list[Any]:
        """The values of the index-th meeting, which everybody gets once all have come."""
        with self._meeting:
            values = self._gathered.setdefault(index, {})
            values[rank] = value
            self._meeting.notify_all()
            self._meeting.wait_for(lambda: len(values) == self.size or self._is_abandoned)
            self._gathered.pop(index - 1, None)
        if len(values) < self.size:
            raise PeerFailedError("another worker failed first")
        return [values[each] for each in range(self.size)]

    def abandon(self) -> None:
        """Lets nobody wait any more for a meeting that not all have come to."""
        with self._meeting:
            self._is_abandoned = True
            self._meeting.notify_all()

    def add(self, index: tuple[str, int], rank: int, vector: np.ndarray) -> _Flag:
        with self._lock:
            total = self._sums.setdefault(index, _Sum(self.size))
            total.add(rank, vector)
            if total.flag.done():
                del self._sums[index]
            return total.flag

    def arrive(self, index: int) -> _Flag:
        with self._lock:
            flag = self._barriers.setdefault(index, _Flag())
            self._arrived[index] = self._arrived.get(index, 0) + 1
            if self._arrived[index] == self.size:
                flag.complete()
            return flag


class LocalTransport:
    """One endpoint of `local_transports`; see `Transport`."""

    data_plane = "threads"
    swaps_block = False

    def __init__(self, hub: _Hub, rank: int):
        """Made by `local_transports`."""
        self._hub = hub
        self.rank = rank
        self.size = hub.size
        self._barriers = 0
        self._reductions = 0
        self._sums = 0
        self._gathers = 0

    def send(self, peer: int, kind: Kind, segment: int, body: np.ndarray) -> Pending:
        """Copies the body into the peer's inbox; complete when the peer has polled it."""
        flag = _Flag()
        copied = np.array(np.ascontiguousarray(body)).view(np.uint8).reshape(-1)
        self._hub.inboxes[peer].put((Message(self.rank, kind, segment, copied), flag))
        return flag

    def poll(self) -> Message | None:
        """The next message of this endpoint's inbox."""
        try:
            message, flag = self._hub.inboxes[self.rank].get_nowait()
        except queue.Empty:
            return None
        flag.complete()
        return message

    def prepare(self, vector: Array) -> None:
        """Nothing to compile."""

    def swap(self, peer: int, segment: int, vector: Array) -> Swapping:
        """Hands over the (immutable) vector itself."""
        self._hub.swaps[peer][self.rank].put((segment, vector))
        return _Swapping(segment, self._hub.swaps[self.rank][peer])

    def prepare_sum(self, vector: Array) -> None:
        """Nothing to compile."""

    def sum(self, vector: Array | np.ndarray) -> Summing:
        """Adds a copy to this endpoint's n-th sum."""
        self._sums += 1
        total = np.array(vector)
        return _Summing(total, self._hub.add(("sum", self._sums), self.rank, total))

    def barrier(self) -> Pending:
        """Counts arrivals of this endpoint's n-th barrier."""
        self._barriers += 1
        return self._hub.arrive(self._barriers)

    def all_reduce(self, vector: np.ndarray) -> Pending:
        """Adds to this endpoint's n-th reduction."""
        self._reductions += 1
        return self._hub.add(("reduction", self._reductions), self.rank, vector)

    def gather(self, value: Any) -> list[Any]:
        """Meets all other endpoints."""
        self._gathers += 1
        return self._hub.gather(self._gathers, self.rank, value)

    def abandon(self) -> None:
        """Lets nobody wait for this endpoint in `gather` any more, now or later."""
        self._hub.abandon()

    def close(self) -> None:
        """Nothing to release."""


def run_threads(
    endpoints: Sequence[LocalTransport],
    function: Callable[[LocalTransport], T],
    on_interrupt: Callable[[], None],
) -> list[T]:
    """Runs a function for each worker, each on a thread of its own.

    Args:
      endpoints: by rank.
      function: endpoint -> result.
      on_interrupt: called on Ctrl-C, to make them end.

    Returns:
      Their results, by rank.

    Raises:
      The first error that is not another worker's, once all have ended.
    """
    results: list[Any] = [None] * len(endpoints)
    errors: dict[int, BaseException] = {}
    ended: queue.SimpleQueue[int] = queue.SimpleQueue()

    def run(rank: int) -> None:
        try:
            results[rank] = function(endpoints[rank])
        except BaseException as error:
            errors[rank] = error
            endpoints[rank].abandon()
        finally:
            ended.put(rank)

    threads = [
        threading.Thread(target=run, args=(rank,), name=f"layup-compute-{rank}")
        for rank in range(len(endpoints))
    ]
    for thread in threads:
        thread.start()
    left = len(threads)
    while left:  # not Thread.join: interrupted, it takes a running thread for an ended one
        try:
            ended.get()
            left -= 1
        except KeyboardInterrupt:
            on_interrupt()
    for thread in threads:
        thread.join()
    causes = sorted(errors.values(), key=lambda each: isinstance(each, PeerFailedError))
    for error in causes:
        raise error
    return results


def local_transports(num_workers: int) -> tuple[LocalTransport, ...]:
    """Connected endpoints, one for each worker of this process, by rank."""
    hub = _Hub(num_workers)
    return tuple(LocalTransport(hub, rank) for rank in range(num_workers))
