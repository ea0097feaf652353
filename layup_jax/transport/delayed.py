"""A transport with a slow link out: what it is given to send leaves later, in order.

    slow = DelayedTransport(transport, Link(Pauses(0.01), bytes_per_second=25e6))
    pending = slow.send(peer, Kind.PUSH, segment, body)     # nothing has left yet
    slow.poll()                                             # starts what is due, too

Messages, sums and exchanges are held back; nothing else changes, so it stands for any transport.
Reductions of evaluations, barriers and `gather` are not delayed: they are no part of training.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

import numpy as np

from layup_jax.pauses import Pauses
from layup_jax.transport.base import Kind, Message, Pending, Summing, Swapping, Transport
from layup_jax.types import Array

_SUMS = -1  # their line; those of messages are called by the peer's rank


class Link:
    """When what is sent is there: bodies follow one another, and each then takes its own latency.

    Threads: one.
    """

    def __init__(self, latency: Pauses, bytes_per_second: float):
        """Takes the latency of each message, and the bandwidth, which may be infinite."""
        self._latency = latency
        self._bytes_per_second = bytes_per_second
        self._free_at = 0.0
        self._sent = 0

    def arrival(self, now: float, num_bytes: float) -> float:
        """The time at which a message is there that is sent now, behind all those before."""
        self._free_at = max(now, self._free_at) + num_bytes / self._bytes_per_second
        self._sent += 1
        return self._free_at + self._latency.seconds_of(self._sent - 1)


class _Held:
    """Something that starts at its time, as a `Pending`, a `Summing` and a `Swapping`."""

    def __init__(self, due: float, start: Callable[[], Any], release: Callable[[], None]):
        self.due = due
        self._start = start
        self._release = release
        self._started: Any = None

    def start(self) -> None:
        self._started = self._start()

    def done(self) -> bool:
        self._release()
        return self._started is not None and self._started.done()

    @property
    def total(self) -> Any:
        return self._started.total

    @property
    def received(self) -> Any:
        return self._started.received


class DelayedTransport:
    """Another transport behind a slow link; see `Transport`.

    What is due leaves at the next call of `send`, `sum`, `poll`, `swap` or `done`, so as often as the
    communication thread looks: some milliseconds late where nothing else happens.
    """

    def __init__(
        self,
        transport: Transport,
        link: Link,
        *,
        now: Callable[[], float] = time.perf_counter,
    ):
        """Takes what sends in the end.

        Args:
          transport: of this worker.
          link: out of this worker.
          now: the time, in seconds.
        """
        self._transport = transport
        self._link = link
        self._now = now
        self._lines: dict[int, deque[_Held]] = defaultdict(deque)
        self.rank = transport.rank
        self.size = transport.size
        self.data_plane = transport.data_plane
        self.swaps_block = transport.swaps_block

    def send(self, peer: int, kind: Kind, segment: int, body: np.ndarray) -> Pending:
        """Starts once this and all before it to that peer are there by the link."""
        start = lambda: self._transport.send(peer, kind, segment, body)  # noqa: E731
        return self._hold(peer, body.nbytes, start)

    def sum(self, vector: Array | np.ndarray) -> Summing:
        """Takes part as late as a message of what a ring sends of the vector would be there."""
        num_bytes = 2 * (self.size - 1) / self.size * vector.nbytes
        return self._hold(_SUMS, num_bytes, lambda: self._transport.sum(vector))

    def swap(self, peer: int, segment: int, vector: Array) -> Swapping:
        """Starts once the vector, and all that was sent to that peer before it, is there by the link."""
        start = lambda: self._transport.swap(peer, segment, vector)  # noqa: E731
        return self._hold(peer, vector.nbytes, start)

    def poll(self) -> Message | None:
        """Of what has come; nothing of that is delayed here."""
        self._release()
        return self._transport.poll()

    def prepare(self, vector: Array) -> None:
        """By the transport."""
        self._transport.prepare(vector)

    def prepare_sum(self, vector: Array) -> None:
        """By the transport."""
        self._transport.prepare_sum(vector)

    def barrier(self) -> Pending:
        """By the transport."""
        return self._transport.barrier()

    def all_reduce(self, vector: np.ndarray) -> Pending:
        """By the transport."""
        return self._transport.all_reduce(vector)

    def gather(self, value: Any) -> list[Any]:
        """By the transport."""
        return self._transport.gather(value)

    def close(self) -> None:
        """By the transport."""
        self._transport.close()

    def _hold(self, line: int, num_bytes: float, start: Callable[[], Any]) -> _Held:
        held = _Held(self._link.arrival(self._now(), num_bytes), start, self._release)
        self._lines[line].append(held)
        self._release()
        return held

    def _release(self) -> None:
        """Starts what is due, unless something before it in its line is not."""
        for line in self._lines.values():
            while line and line[0].due <= self._now():
                line.popleft().start()
