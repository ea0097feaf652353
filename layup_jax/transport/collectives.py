"""Collectives of segments: asked for by the compute thread, moved by the communication thread.

    ticket = collectives.ask(AllReduce(segment=3), vector)      # the compute thread, and on it goes
    ticket.wait(check)                                          # when what it brings is due
    ticket.received                                             # a sum, or what each source gave

Every worker asks for the same averages in the same order, but not equally many: workers may stop at
different steps. One that has stopped is told by the others which sums they have started, and
contributes zeros, so that nobody waits for it; a last element counts who contributed:

    stops after n sums:  FINISHED(n) -> all      others, at sum m >= n:  JOIN(m) -> it
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from layup_jax.transport.base import Kind, Message, Pending, Summing, Transport, increased
from layup_jax.types import AllReduce, Array, Collective, NeighbourGather, Shape

_CHECK_SECONDS = 0.05


class Ticket:
    """One collective of one segment.

    Threads: the communication thread completes it, the compute thread waits.

    Attributes:
      segment: that it is about.
      received: once ready; of an average the sum over all workers alone, else what each source gave,
        without those that had stopped.
    """

    def __init__(self, segment: int):
        """Nothing has come yet."""
        self.segment = segment
        self.received: tuple[Array | np.ndarray, ...] = ()
        self._ready = threading.Event()

    def complete(self, received: Sequence[Array | np.ndarray]) -> None:
        """Wakes who waits."""
        self.received = tuple(received)
        self._ready.set()

    def ready(self) -> bool:
        """Whether `received` is there."""
        return self._ready.is_set()

    def wait(self, check: Callable[[], None]) -> None:
        """Returns once it is ready; `check` is called now and then and may raise."""
        while not self._ready.wait(_CHECK_SECONDS):
            check()


class CollectiveStatistics(NamedTuple):
    """Counts since the start.

    Attributes:
      sent: sums taken part in, and vectors given to neighbours.
      received: sums, and vectors from neighbours.
      sent_bytes: given to neighbours, and 2 (M - 1) / M of a vector for a sum over M workers, which is
        what a ring sends and no algorithm can do with less.
    """

    sent: int
    received: int
    sent_bytes: int


class _Sum(NamedTuple):
    number: int
    ticket: Ticket
    summing: Summing
    is_own: bool  # asked for here, so that this worker tells those that have stopped


class _Gathering:
    """What has come for one ticket, in the order of its sources."""

    def __init__(self, ticket: Ticket, sources: Sequence[int]):
        self.ticket = ticket
        self.missing = list(sources)
        self.received: dict[int, np.ndarray] = dict.fromkeys(sources)  # type: ignore[arg-type]


class Collectives:
    """One worker's collectives.

    Threads: the compute thread asks; everything else is the communication thread's, or any one thread's
      after it has ended. Blocks: never, but in transfers of a blocking data plane, once all have come.
    After the end: `late` holds what other workers' last collectives brought.
    """

    def __init__(self, transport: Transport, shapes: Sequence[Shape], wake: Callable[[], None]):
        """Takes the vectors' shapes by segment, and what tells the communication thread of a request."""
        self.late: list[Ticket] = []
        self._transport = transport
        self._shapes = shapes
        self._wake = wake
        self._asked: deque[tuple[Collective, Array, Ticket]] = deque()
        self._sums: deque[_Sum] = deque()
        self._started = 0
        self._gatherings: list[_Gathering] = []
        self._inbox: dict[tuple[int, int], deque[np.ndarray]] = defaultdict(deque)
        self._sending: list[Pending] = []
        self._stopped: set[int] = set()
        self._statistics = CollectiveStatistics(0, 0, 0)

    def ask(self, request: Collective, vector: Array) -> Ticket:
        """Takes part in a collective with this vector, which nobody changes any more."""
        ticket = Ticket(request.segment)
        self._asked.append((request, vector, ticket))
        self._wake()
        return ticket

    @property
    def are_started(self) -> bool:
        """Whether everything asked for is under way."""
        return not self._asked

    @property
    def are_idle(self) -> bool:
        """Whether nothing is asked for or under way."""
        return not (self._asked or self._sums or self._gatherings or self._sending)

    def statistics(self) -> CollectiveStatistics:
        """A snapshot of the counts."""
        return self._statistics

    def farewell(self) -> np.ndarray:
        """What the others must know when this worker stops: how many sums it has started."""
        return np.array([self._started], np.int64)

    def advance(self) -> bool:
        """Starts what was asked for, completes what has come; whether there was anything."""
        moved = bool(self._asked)
        while self._asked:
            self._start(*self._asked.popleft())
        while self._sums and self._sums[0].summing.done():
            self._finish_sum(self._sums.popleft())
            moved = True
        if self._gatherings:
            before = len(self._gatherings)
            self._gatherings = [each for each in self._gatherings if not self._is_complete(each)]
            moved |= len(self._gatherings) < before
        if self._sending:
            self._sending = [each for each in self._sending if not each.done()]
        return moved

    def take(self, message: Message) -> None:
        """Takes a message of the kinds GATHER and JOIN."""
        if message.kind == Kind.GATHER:
            vector = message.body.view(self._shapes[message.segment].dtype)
            self._inbox[message.source, message.segment].append(vector)
            return
        if int(message.body.view(np.int64)[0]) == self._started:
            shape = self._shapes[message.segment]
            self.late.append(Ticket(message.segment))
            nothing = np.zeros(shape.size + 1, shape.dtype)  # and nobody
            self._start_sum(nothing, self.late[-1], is_own=False)

    def peer_stopped(self, peer: int, farewell: np.ndarray) -> None:
        """Learns that another worker asks for nothing any more, and what it has started."""
        self._stopped.add(peer)
        for each in self._sums:
            if each.is_own and each.number >= int(farewell[0]):
                self._invite(peer, each)

    def leftovers(self) -> list[tuple[int, np.ndarray]]:
        """What was given to this worker after it had stopped, with the segment; taken out."""
        found = [(key[1], body) for key, bodies in self._inbox.items() for body in bodies]
        self._inbox.clear()
        self._count(received=len(found))
        return found

    def _start(self, request: Collective, vector: Array, ticket: Ticket) -> None:
        if isinstance(request, AllReduce):
            self._start_sum(vector, ticket, is_own=True)
        else:
            self._start_gathering(request, np.asarray(vector), ticket)

    def _start_sum(self, vector: Array | np.ndarray, ticket: Ticket, *, is_own: bool) -> None:
        summing = self._transport.sum(vector)
        size = self._transport.size
        self._count(sent=1, sent_bytes=round(2 * (size - 1) / size * vector.nbytes))
        self._sums.append(_Sum(self._started, ticket, summing, is_own))
        self._started += 1
        if is_own:
            for peer in self._stopped:
                self._invite(peer, self._sums[-1])

    def _invite(self, peer: int, each: _Sum) -> None:
        number = np.array([each.number], np.int64)
        self._sending.append(self._transport.send(peer, Kind.JOIN, each.ticket.segment, number))

    def _finish_sum(self, each: _Sum) -> None:
        each.ticket.complete([each.summing.total])
        self._count(received=1)

    def _start_gathering(self, request: NeighbourGather, body: np.ndarray, ticket: Ticket) -> None:
        for peer in request.targets:
            self._sending.append(self._transport.send(peer, Kind.GATHER, request.segment, body))
        self._count(sent=len(request.targets), sent_bytes=len(request.targets) * body.nbytes)
        self._gatherings.append(_Gathering(ticket, request.sources))

    def _is_complete(self, gathering: _Gathering) -> bool:
        """Takes what has come; in the order of asking, so that messages meet their own turns."""
        for source in list(gathering.missing):
            inbox = self._inbox[source, gathering.ticket.segment]
            if inbox:
                gathering.received[source] = inbox.popleft()
                gathering.missing.remove(source)
                self._count(received=1)
            elif source in self._stopped:
                gathering.missing.remove(source)
        if gathering.missing:
            return False
        came = [each for each in gathering.received.values() if each is not None]
        gathering.ticket.complete(came)
        return True

    def _count(self, **more: int) -> None:
        self._statistics = increased(self._statistics, **more)
