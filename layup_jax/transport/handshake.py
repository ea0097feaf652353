"""The pairwise exchange protocol: propose, then accept or busy, then both sides swap, segment by segment.

    A: PROPOSE(segments) -> B        B is free:         B: ACCEPT -> A, swap     A: swap
                                     B is not:          B: BUSY -> A             A: asks another, later
                                     B proposed to A:   both swap the union of their segments

No coordinator and no bipartite graph are needed. A worker takes part in two exchanges at a time, one
that it has proposed and one that it has accepted, with different peers: one that waits for an answer, or
for a slow link, still accepts. As nothing blocks, nobody can wait in a circle.

Where swaps block, it takes part in one, and turns everybody down while its own proposal is open. So only
a worker that waits for nothing ever enters a swap first.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from typing import NamedTuple, Protocol

import numpy as np

from layup_jax.transport.base import Kind, Message, Pending, Swapping, Transport, increased
from layup_jax.types import Array

_EMPTY = np.empty(0, np.uint8)
_SHORTEST_NAP_SECONDS = 0.0002
_MOVED_BYTES = 1 << 18  # between looks; by TCP Open MPI has three parts of 2**17 under way
_NAPS = 16  # in the time that a swap has been under way


class Port(Protocol):
    """What an exchange needs of the parameter store."""

    def outgoing(self, segment: int) -> Array:
        """The vector to give now."""
        ...

    def incoming(self, segment: int, sent: Array | None, received: Array | np.ndarray) -> None:
        """Merges the peer's."""
        ...


class _Proposal(NamedTuple):
    """An exchange that was proposed and not answered yet."""

    peer: int
    segments: tuple[int, ...]
    since_seconds: float


class _Swap(NamedTuple):
    """One segment's swap, which is under way since then."""

    swapping: Swapping
    num_bytes: int
    since_seconds: float

    def nap_seconds(self) -> float:
        """For how long nobody needs to look, at least the shortest nap.

        Naps may make MPI wait for its turn. Were the network so fast that this slowed the swap down, it
        would be done by now.
        """
        under_way = time.perf_counter() - self.since_seconds
        looks = max(_NAPS, self.num_bytes / _MOVED_BYTES)
        return max(_SHORTEST_NAP_SECONDS, under_way / looks)


class _Exchange(NamedTuple):
    """An exchange that both sides have agreed to.

    Attributes:
      is_own: whether this side has proposed it.
      steps: what is left of it; each ends where a swap must be waited for, and gives that.
      swap: what it waits for; None before the first step.
    """

    is_own: bool
    steps: Iterator[_Swap]
    swap: _Swap | None = None


class HandshakeStatistics(NamedTuple):
    """Counts since the start.

    Attributes:
      exchanges: swaps of one segment that were completed.
      busy: own proposals that were turned down.
      sent_bytes: by swaps.
      reply_seconds: time from proposals to their answers.
      swap_seconds: time with an exchange under way, one or two, peers' lateness included.
    """

    exchanges: int
    busy: int
    sent_bytes: int
    reply_seconds: float
    swap_seconds: float


class Handshake:
    """One worker's side of the protocol.

    Threads: the communication thread only. Blocks: where the transport's swaps do, in those.
    """

    def __init__(self, transport: Transport, port: Port):
        """Takes what swaps vectors, and where they come from and go to."""
        self._transport = transport
        self._port = port
        self._open: _Proposal | None = None
        self._exchanges: dict[int, _Exchange] = {}  # by peer
        self._counted_at = 0.0  # up to when swap_seconds are counted, while there are exchanges
        self._statistics = HandshakeStatistics(0, 0, 0, 0.0, 0.0)

    @property
    def is_open(self) -> bool:
        """Whether an own proposal awaits its answer."""
        return self._open is not None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is proposed or under way."""
        return self._open is None and not self._exchanges

    @property
    def may_propose(self) -> bool:
        """Whether there is room for an own exchange."""
        return self._open is None and not self._is_full(own=True)

    @property
    def peers(self) -> Collection[int]:
        """Those with whom an exchange is under way, to whom nothing may be proposed."""
        return self._exchanges.keys()

    def statistics(self) -> HandshakeStatistics:
        """A snapshot of the counts."""
        return self._statistics

    def propose(self, peer: int, segments: tuple[int, ...]) -> Pending:
        """Proposes an exchange; returns the pending send. There must be room for it."""
        assert self.may_propose, f"proposal to {peer} while there is {self._open or self.peers}"
        assert peer not in self.peers, f"proposal to {peer} in an exchange with it"
        self._open = _Proposal(peer, segments, time.perf_counter())
        return self._transport.send(peer, Kind.PROPOSE, 0, np.array(segments, np.int64))

    def answered(self, message: Message) -> tuple[int, ...]:
        """Takes ACCEPT or BUSY; returns the segments that must be asked for again."""
        proposal = self._closed()
        assert proposal.peer == message.source, f"{message.kind} from {message.source}: {proposal}"
        if message.kind == Kind.BUSY:
            self._count(busy=1)
            return proposal.segments
        self._begin(proposal.peer, proposal.segments, is_own=True)
        return ()

    def proposed(self, message: Message) -> Pending | None:
        """Takes PROPOSE; returns the pending reply, None if a crossed proposal needs none."""
        self.advance()  # with what that peer has ended already, this side may not be through yet
        peer = message.source
        segments = tuple(int(segment) for segment in message.body.view(np.int64))
        if self._open is not None and self._open.peer == peer:
            own = self._closed().segments
            self._begin(peer, tuple(sorted({*own, *segments}, reverse=True)), is_own=True)
            return None
        waits = self._transport.swaps_block and self._open is not None
        if waits or peer in self._exchanges or self._is_full(own=False):
            return self._transport.send(peer, Kind.BUSY, 0, _EMPTY)
        reply = self._transport.send(peer, Kind.ACCEPT, 0, _EMPTY)
        self._begin(peer, segments, is_own=False)
        return reply

    def advance(self) -> bool:
        """Merges what has come, and starts what follows it; whether there was anything."""
        if not self._exchanges:
            return False
        before = self._statistics.exchanges
        for peer, exchange in tuple(self._exchanges.items()):
            swap = next(exchange.steps, None)
            if swap is None:
                del self._exchanges[peer]
            else:
                self._exchanges[peer] = exchange._replace(swap=swap)
        now = time.perf_counter()
        self._count(swap_seconds=now - self._counted_at)
        self._counted_at = now
        return self._statistics.exchanges != before

    def nap_seconds(self) -> float | None:
        """When to look at the swaps under way again; 0 if `advance` has something to do, None without.

        Asking costs little, and drives the swaps on.
        """
        swaps = [each.swap for each in self._exchanges.values() if each.swap is not None]
        if any(each.swapping.done() for each in swaps):
            return 0.0
        return min((each.nap_seconds() for each in swaps), default=None)

    def _is_full(self, *, own: bool) -> bool:
        """Whether there is no room for another exchange, of its own or not."""
        if self._transport.swaps_block:
            return bool(self._exchanges)
        return any(each.is_own == own for each in self._exchanges.values())

    def _closed(self) -> _Proposal:
        proposal = self._open
        assert proposal is not None, "an answer without a proposal"
        self._open = None
        self._count(reply_seconds=time.perf_counter() - proposal.since_seconds)
        return proposal

    def _begin(self, peer: int, segments: tuple[int, ...], *, is_own: bool) -> None:
        if not self._exchanges:
            self._counted_at = time.perf_counter()
        self._exchanges[peer] = _Exchange(is_own, self._steps(peer, segments))
        self.advance()

    def _steps(self, peer: int, segments: tuple[int, ...]) -> Iterator[_Swap]:
        for segment in segments:
            sent = self._port.outgoing(segment)
            since = time.perf_counter()
            swapping = self._transport.swap(peer, segment, sent)
            while not swapping.done():
                yield _Swap(swapping, sent.nbytes, since)
            self._port.incoming(segment, sent, swapping.received)
            self._count(exchanges=1, sent_bytes=sent.nbytes)

    def _count(self, **more: float) -> None:
        self._statistics = increased(self._statistics, **more)
