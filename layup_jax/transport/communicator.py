"""The communication thread: serves the outbox, answers peers, and stops without losing anything.

    communicator = Communicator(transport, port, outbox, options)
    communicator.start()
    ...                                   # the compute thread puts requests into the outbox
    communicator.finish()                 # keeps serving until every worker has finished

It owns every call of the transport between `start` and the end of `finish`.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection
from typing import NamedTuple, Protocol

import numpy as np

from layup_jax.errors import PeerFailedError, TransportError
from layup_jax.transport.averager import Averager
from layup_jax.transport.base import Kind, Message, Pending, Transport
from layup_jax.transport.collectives import Collectives
from layup_jax.transport.handshake import Handshake
from layup_jax.transport.outbox import Outbox
from layup_jax.transport.pacing import Pacing
from layup_jax.transport.reductions import Reductions
from layup_jax.transport.tally import Tally
from layup_jax.types import Array, Exchange, Gossip, Shape

_FIRST_IDLE_SECONDS = 0.0005
_RETRY_SECONDS = 0.002


class Port(Protocol):
    """What the communication thread needs of the parameter store."""

    shapes: tuple[Shape, ...]

    def outgoing(self, segment: int) -> Array:
        """The vector to send now."""
        ...

    def contribution(self, segment: int) -> Array:
        """The vector to add to a sum over workers now."""
        ...

    def average(self, segment: int, total: Array | np.ndarray) -> None:
        """Merges a sum."""
        ...

    def incoming(self, segment: int, sent: Array | None, received: Array | np.ndarray) -> None:
        """Merges what arrived."""
        ...


class CommunicationOptions(NamedTuple):
    """How the communication thread behaves.

    Attributes:
      share: of one processor's time that own requests may take; 1 for no limit.
      sends_in_flight: pushes under way to one peer, above which others are asked in its place.
      idle_seconds: longest sleep between two looks at the network when nothing happens.
      stop_seconds: how long `finish` waits for the other workers after a failure.
      samples: of all workers together, at which they stop; None never.
      averages: whether all segments are averaged over all workers all the time.
    """

    share: float = 1.0
    sends_in_flight: int = 4
    idle_seconds: float = 0.002
    stop_seconds: float = 10.0
    samples: int | None = None
    averages: bool = False


class CommunicationStatistics(NamedTuple):
    """Counts since the start; times in seconds.

    Attributes:
      messages_sent: pushes, one-segment exchanges, and parts in collectives of one segment.
      messages_received: the same, from peers.
      sent_bytes: parameters and weights, without protocol messages.
      asked: requests by the strategy.
      coalesced: requests that a newer one replaced before they were served.
      busy: proposals that were turned down.
      reply_seconds: waiting for answers to proposals.
      swap_seconds: inside exchanges.
      thread_seconds: processor time of the communication thread.
    """

    messages_sent: int
    messages_received: int
    sent_bytes: int
    asked: int
    coalesced: int
    busy: int
    reply_seconds: float
    swap_seconds: float
    thread_seconds: float


class Communicator:
    """One worker's communication thread.

    Threads: the worker's thread starts, finishes and reads; the rest happens inside.
    Blocks: `finish` until every worker has finished, or `stop_seconds` after a failure.
    After finish: the thread has ended; statistics stay readable.
    """

    def __init__(
        self,
        transport: Transport,
        port: Port,
        outbox: Outbox,
        options: CommunicationOptions,
        neighbours: Collection[int] | None = None,
    ):
        """Takes what it serves. Nothing runs before `start`.

        Args:
          transport: of this worker.
          port: to the parameters.
          outbox: what the strategy asks for.
          options: how to behave.
          neighbours: whom it may talk to of its own accord; None for everybody.
        """
        self._wake = threading.Event()
        self.reductions = Reductions(transport)
        self.collectives = Collectives(transport, port.shapes, self._wake.set)
        self.tally = Tally(transport, options.samples, self._wake.set)
        self._transport = transport
        self._port = port
        self._outbox = outbox
        self._options = options
        others = range(transport.size) if neighbours is None else neighbours
        self._neighbours = sorted({*others} - {transport.rank})
        self._handshake = Handshake(transport, port)
        self._pacing = Pacing(options.share)
        averages = options.averages and transport.size > 1
        self._averager = Averager(port, self.collectives) if averages else None
        self._longest_idle = options.idle_seconds
        self._pushes: dict[int, list[Pending]] = {}
        self._controls: list[Pending] = []
        self._finished: set[int] = set()
        self._retry_at = 0.0
        self._backoff = random.Random(transport.rank)
        self._pushed = self._received = self._pushed_bytes = 0
        self._thread_seconds = 0.0
        self._finishing = threading.Event()
        self._failing = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(
            target=self._run, name=f"layup-communication-{transport.rank}", daemon=True
        )

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    @property
    def error(self) -> BaseException | None:
        """What went wrong in this thread or on another worker; None if nothing did."""
        return self._error

    def finish(self, *, failed: bool = False) -> None:
        """Serves what was asked for, then peers, until every worker has come here; ends the thread.

        Args:
          failed: drops what was asked for, and tells all workers to stop because this one failed.
        """
        self._outbox.close()
        if failed:
            self._failing.set()
        self._finishing.set()
        self._wake.set()
        self._thread.join()

    def statistics(self) -> CommunicationStatistics:
        """A snapshot of the counts."""
        outbox, handshake = self._outbox.statistics(), self._handshake.statistics()
        collective = self.collectives.statistics()
        return CommunicationStatistics(
            messages_sent=self._pushed + handshake.exchanges + collective.sent,
            messages_received=self._received + handshake.exchanges + collective.received,
            sent_bytes=self._pushed_bytes + handshake.sent_bytes + collective.sent_bytes,
            asked=outbox.asked,
            coalesced=outbox.coalesced,
            busy=handshake.busy,
            reply_seconds=handshake.reply_seconds,
            swap_seconds=handshake.swap_seconds,
            thread_seconds=self._thread_seconds,
        )

    def _run(self) -> None:
        try:
            self._serve_until(self._finishing.is_set)
        except BaseException as error:
            self._error = self._error or error
        try:
            self._stop()
        except BaseException as error:
            self._error = self._error or error

    def _stop(self) -> None:
        """Serves what is still asked for, says so, and serves the others until all have done so.

        Collectives under way may need that the others know: they are waited for after saying so.
        """
        self._controls += self.tally.tell()
        self._serve_until(lambda: self._quiet() and self.collectives.are_started)
        self._tell_all(Kind.FAILED if self._failed else Kind.FINISHED)
        self._serve_until(lambda: self._quiet() and self.collectives.are_idle)
        barrier = self._transport.barrier()
        self._serve_until(lambda: barrier.done() and self._handshake.is_idle)
        self._serve_until(lambda: self.collectives.are_idle)  # all have contributed

    @property
    def _failed(self) -> bool:
        return self._failing.is_set() or self._error is not None

    def _quiet(self) -> bool:
        """Nothing of ours is under way; what is still asked for is dropped after a failure."""
        if self._failed:
            while self._outbox.take():
                pass
        return not (self._outbox or self._pushes or self._controls) and self._handshake.is_idle

    def _serve_until(self, condition: Callable[[], bool]) -> None:
        """The loop of the thread: one look at everything, and a growing sleep when nothing happens."""
        idle = _FIRST_IDLE_SECONDS
        started = time.monotonic()
        while not condition():
            if self._step():
                idle = _FIRST_IDLE_SECONDS
                continue
            waited = time.monotonic() - started
            if self._failed and self._finishing.is_set() and waited > self._options.stop_seconds:
                raise TransportError(
                    f"worker {self._transport.rank} stops after a failure, but the others did not "
                    f"within {self._options.stop_seconds:.0f} s; end them by hand"
                )
            self._thread_seconds = time.thread_time()
            self._rest(idle)
            idle = min(2 * idle, _FIRST_IDLE_SECONDS if self._is_awaited() else self._longest_idle)

    def _rest(self, seconds: float) -> None:
        """Sleeps until it is woken, in naps where swaps are under way."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._wake.is_set():
            nap = self._handshake.nap_seconds()
            if nap == 0:
                return
            self._wake.wait(left if nap is None else min(left, nap))
        self._wake.clear()

    def _is_awaited(self) -> bool:
        """Whether somebody may be waiting: a peer that spins in a swap, or a compute thread."""
        spins = self._transport.swaps_block and self._handshake.is_open
        return spins or not (self._averager or self.collectives.are_idle)

    def _step(self) -> bool:
        """Does what can be done now; whether there was anything."""
        message = self._transport.poll()
        if message is not None:
            is_push = message.kind == Kind.PUSH
            with self._pacing.receipt() if is_push else self._pacing.work():
                self._take(message)
        self._forget_completed()
        exchanged = self._exchange()
        self.reductions.advance()
        if not self._finishing.is_set():  # else others may be gone before they could take it
            self._controls += self.tally.advance()
        moved = self.collectives.advance()
        moved = moved or exchanged or message is not None
        return self._average() or self._serve_outbox() or moved

    def _exchange(self) -> bool:
        """Goes on with the exchanges under way, if there are any."""
        if not self._handshake.peers:
            return False
        with self._pacing.work():
            return self._handshake.advance()

    def _average(self) -> bool:
        """Goes on with the averaging in the background, if there is any."""
        if self._averager is None:
            return False
        averager = self._averager
        starts = not (self._finishing.is_set() or self._failed) and self._pacing.ready()
        if not (averager.has_come() or (starts and averager.is_free())):
            return False
        with self._pacing.work():
            if averager.has_come():
                averager.merge()
            else:
                averager.begin()
        return True

    def _take(self, message: Message) -> None:
        if message.kind == Kind.PUSH:
            body = message.body.view(self._port.shapes[message.segment].dtype)
            self._port.incoming(message.segment, None, body)
            self._received += 1
        elif message.kind == Kind.PROPOSE:
            reply = self._handshake.proposed(message)
            if reply is not None:
                self._controls.append(reply)
        elif message.kind in (Kind.ACCEPT, Kind.BUSY):
            declined = self._handshake.answered(message)
            if declined:
                self._ask_another(declined, message.source)
        elif message.kind in (Kind.GATHER, Kind.JOIN):
            self.collectives.take(message)
        elif message.kind == Kind.SAMPLES:
            self.tally.take(message)
        else:
            self._stopped(message)

    def _ask_another(self, segments: tuple[int, ...], busy: int) -> None:
        """Some milliseconds later, of whoever else is a neighbour."""
        others = [peer for peer in self._unfinished() if peer != busy]
        peer = self._backoff.choice(others) if others else busy
        self._outbox.restore(tuple(Exchange(each, peer) for each in segments))
        wait = _RETRY_SECONDS * (1 + self._backoff.random())
        self._retry_at = time.perf_counter() + wait

    def _stopped(self, message: Message) -> None:
        if message.kind == Kind.FAILED:
            self._error = self._error or PeerFailedError(f"worker {message.source} failed first")
        self._finished.add(message.source)
        self.collectives.peer_stopped(message.source, message.body.view(np.int64))

    def _serve_outbox(self) -> bool:
        draining = self._finishing.is_set()
        if not self._outbox or not self._handshake.may_propose or self._failed:
            return False
        if not draining and not self._pacing.ready():
            return False
        if time.perf_counter() < self._retry_at:
            return False
        group = self._outbox.take()
        unfinished = self._unfinished()
        free = [peer for peer in unfinished if not self._is_taken(peer)]
        if unfinished and not free:
            self._outbox.restore(group)
            return False
        if unfinished:
            peer = group[0].peer if group[0].peer in free else self._backoff.choice(free)
            with self._pacing.work():
                self._request(group, peer)
        return True

    def _request(self, group: tuple[Gossip, ...], peer: int) -> None:
        segments = tuple(dict.fromkeys(entry.segment for entry in group))
        if isinstance(group[0], Exchange):
            self._controls.append(self._handshake.propose(peer, segments))
            return
        for segment in segments:
            self._push(segment, peer)

    def _push(self, segment: int, peer: int) -> None:
        body = np.asarray(self._port.outgoing(segment)).view(np.uint8)
        pending = self._transport.send(peer, Kind.PUSH, segment, body)
        self._pacing.pay_receipt()
        self._pushes.setdefault(peer, []).append(pending)
        self._pushed += 1
        self._pushed_bytes += body.nbytes

    def _unfinished(self) -> list[int]:
        """The neighbours that still train."""
        return [peer for peer in self._neighbours if peer not in self._finished]

    def _is_taken(self, peer: int) -> bool:
        """Whether what it was sent, or an exchange, is still under way; others are then asked instead."""
        pushes = len(self._pushes.get(peer, ()))
        return pushes >= self._options.sends_in_flight or peer in self._handshake.peers

    def _tell_all(self, kind: Kind) -> None:
        farewell = self.collectives.farewell()
        for peer in range(self._transport.size):
            if peer != self._transport.rank:
                self._controls.append(self._transport.send(peer, kind, 0, farewell))

    def _forget_completed(self) -> None:
        self._controls = [each for each in self._controls if not each.done()]
        for peer, sent in list(self._pushes.items()):
            self._pushes[peer] = [each for each in sent if not each.done()]
            if not self._pushes[peer]:
                del self._pushes[peer]
