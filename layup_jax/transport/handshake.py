"""The pairwise exchange protocol: propose, then accept or busy, then both sides swap.

No coordinator and no bipartite graph are needed, and nobody can wait in a circle: a worker whose own
proposal is open answers busy, so only a worker that waits for nothing ever enters a swap first. If two
proposals cross, both count as accepted.

    A: PROPOSE(segments) -> B        B idle:            B: ACCEPT -> A, swap     A: swap
                                     B has proposed:    B: BUSY -> A             A: tries later
                                     B proposed to A:   both swap the union of their segments
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from layup_jax.transport.base import Kind, Message, Transport, increased

_EMPTY = np.empty(0, np.uint8)


class Proposal(NamedTuple):
    """An exchange that was proposed and not answered yet."""

    peer: int
    segments: tuple[int, ...]
    since_seconds: float


class HandshakeStatistics(NamedTuple):
    """Counts since the start.

    Attributes:
      exchanges: swaps of one segment that were completed.
      busy: own proposals that were turned down.
      sent_bytes: by swaps.
      reply_seconds: time from proposals to their answers.
      swap_seconds: time inside swaps, peers' lateness included.
    """

    exchanges: int
    busy: int
    sent_bytes: int
    reply_seconds: float
    swap_seconds: float


class Handshake:
    """One worker's side of the protocol.

    Threads: the communication thread only. Blocks: in a swap, which both sides have agreed to.
    """

    def __init__(self, transport: Transport, exchange: Callable[[int, int], int]):
        """Takes the transport, and exchange(peer, segment) -> bytes sent, which swaps and merges."""
        self._transport = transport
        self._exchange = exchange
        self._open: Proposal | None = None
        self._statistics = HandshakeStatistics(0, 0, 0, 0.0, 0.0)

    @property
    def is_open(self) -> bool:
        """Whether an own proposal awaits its answer."""
        return self._open is not None

    def statistics(self) -> HandshakeStatistics:
        """A snapshot of the counts."""
        return self._statistics

    def propose(self, peer: int, segments: tuple[int, ...]):
        """Proposes an exchange; returns the pending send. None other may be open."""
        assert self._open is None, f"proposal to {peer} while one is open: {self._open}"
        self._open = Proposal(peer, segments, time.perf_counter())
        return self._transport.send(peer, Kind.PROPOSE, 0, np.array(segments, np.int64))

    def answered(self, message: Message) -> tuple[int, ...]:
        """Takes ACCEPT or BUSY; returns the segments that must be asked for again."""
        proposal = self._closed()
        assert proposal.peer == message.source, f"{message.kind} from {message.source}: {proposal}"
        if message.kind == Kind.BUSY:
            self._count(busy=1)
            return proposal.segments
        self._swap(proposal.peer, proposal.segments)
        return ()

    def proposed(self, message: Message):
        """Takes PROPOSE; returns the pending reply, None if a crossed proposal needs none."""
        segments = tuple(int(segment) for segment in message.body.view(np.int64))
        if self._open is None:
            reply = self._transport.send(message.source, Kind.ACCEPT, 0, _EMPTY)
            self._swap(message.source, segments)
            return reply
        if self._open.peer != message.source:
            return self._transport.send(message.source, Kind.BUSY, 0, _EMPTY)
        own = self._closed().segments
        self._swap(message.source, tuple(sorted({*own, *segments}, reverse=True)))
        return None

    def _closed(self) -> Proposal:
        proposal = self._open
        assert proposal is not None, "an answer without a proposal"
        self._open = None
        self._count(reply_seconds=time.perf_counter() - proposal.since_seconds)
        return proposal

    def _swap(self, peer: int, segments: tuple[int, ...]) -> None:
        start = time.perf_counter()
        sent_bytes = sum(self._exchange(peer, segment) for segment in segments)
        self._count(
            exchanges=len(segments),
            sent_bytes=sent_bytes,
            swap_seconds=time.perf_counter() - start,
        )

    def _count(self, **more: float) -> None:
        self._statistics = increased(self._statistics, **more)
