"""Collectives as the compute thread sees them: contributed to after updates, merged before forwards.

merger.ask(AllReduce(segment=3), step)       # right after the update of that step
merger.settle(3, step + 1)                   # before the segment is read again: waits, and merges
merger.settle_all(step + 1)                  # the same for all segments

What a collective brings is merged at a step that the request names, never when it happens to arrive:
so a run of a synchronous method can be repeated bit by bit.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from layup_jax.clock import Clock
from layup_jax.engine.recording import Event, Message, Recording
from layup_jax.engine.residuals import Residuals
from layup_jax.engine.wire import Wire, updated
from layup_jax.store import ParameterStore
from layup_jax.types import AllReduce, Array, Collective, NeighbourGather, SegmentState


class Ticket(Protocol):
    """What asking for a collective gives."""

    segment: int
    received: tuple[Array | np.ndarray, ...]

    def wait(self, check: Callable[[], None]) -> None:
        """Returns once `received` is there."""
        ...


class _Open(NamedTuple):
    request: Collective
    due_step: int
    sent: Array
    ticket: Ticket


class Merger:
    """Contributes to collectives and merges what they bring.

    Threads: the compute thread. Blocks: `settle` and `settle_all`, until what is due has come.
    """

    def __init__(
        self,
        store: ParameterStore,
        wire: Wire,
        clock: Clock,
        ask: Callable[[Collective, Array], Ticket],
        check: Callable[[], None],
        recording: Recording | None = None,
    ):
        """Takes what it works on.

        Args:
          store: of the worker.
          wire: the compiled functions.
          clock: the time that they are given.
          ask: hands a request and its vector to the communication thread.
          check: raises if there is no use in waiting any more.
          recording: gets what is contributed and merged; None records nothing.
        """
        self._recording = recording
        self._store = store
        self._wire = wire
        self._clock = clock
        self._hand_over = ask
        self._check = check
        self._open: list[deque[_Open]] = [deque() for _ in range(len(store))]
        self.waited_seconds = 0.0

    def ask(self, request: Collective, step: int) -> None:
        """Contributes the segment's payload, once everything is merged that is due after this step."""
        self.settle(request.segment, step + 1)
        vector = self._payload(request)
        ticket = self._hand_over(request, vector)
        due_step = step + 1 + request.due
        self._open[request.segment].append(_Open(request, due_step, vector, ticket))

    def settle(self, segment: int, step: int) -> None:
        """Merges what is due before this step of this segment, in the order in which it was asked for."""
        waiting = self._open[segment]
        while waiting and waiting[0].due_step <= step:
            self._merge(waiting.popleft())

    def settle_all(self, step: int) -> None:
        """`settle` of every segment."""
        for segment in range(len(self._store)):
            self.settle(segment, step)

    def finish(self, late: Sequence[Ticket], leftovers: Sequence[tuple[int, np.ndarray]]) -> None:
        """Merges all that is open, and what came after this worker had stopped.

        Args:
          late: averages of workers that went on.
          leftovers: what neighbours gave, with the segment; only where weights travel with it.
        """
        for waiting in self._open:
            while waiting:
                self._merge(waiting.popleft())
        for ticket in late:
            self._average(ticket.segment, ticket.received[0])
        for segment, vector in leftovers:
            self._incoming(segment, None, vector)

    def warm_up(self, kind: type[Collective], prepare: Callable[[Array], None]) -> None:
        """Compiles both directions for every segment; leaves the store changed.

        Args:
          kind: of collective.
          prepare: called with a vector of each segment, for the transport to compile sums.
        """
        for segment in range(len(self._store)):
            if kind is AllReduce:
                vector = self._payload(AllReduce(segment))
                prepare(vector)
                self._average(segment, np.asarray(vector))
            else:
                vector = self._payload(NeighbourGather(segment, (), ()))
                self._incoming(segment, vector, np.asarray(vector))

    def _payload(self, request: Collective) -> Array:
        counted = isinstance(request, AllReduce)
        compiled = self._wire.contribution if counted else self._wire.outgoing

        def write(state: SegmentState) -> tuple[SegmentState, Array]:
            given, now = self._wire.given(state), self._clock.now()
            if self._recording is not None:
                kind = "contribution" if counted else "outgoing"
                self._recording.add(Event(kind, request.segment, now=now))
            changed, vector = compiled(given, now)
            return updated(state, changed, given), vector

        return self._store.update(request.segment, write)[0]

    def _merge(self, each: _Open) -> None:
        start = time.perf_counter()
        each.ticket.wait(self._check)
        self.waited_seconds += time.perf_counter() - start
        segment = each.request.segment
        if isinstance(each.request, AllReduce):
            self._average(segment, each.ticket.received[0])
            return
        for vector in each.ticket.received:
            self._incoming(segment, each.sent, vector)

    def _average(self, segment: int, total: Array | np.ndarray) -> None:
        placed = self._wire.placed(total)

        def merge(given: SegmentState, now: float) -> Residuals:
            return self._wire.average(given, placed, now)

        self._write(Event("average", segment), Message(None, total), merge)

    def _incoming(self, segment: int, sent: Array | None, vector: Array | np.ndarray) -> None:
        placed = self._wire.placed(vector)

        def merge(given: SegmentState, now: float) -> Residuals:
            return self._wire.incoming(given, sent, placed, now)

        self._write(Event("gathered", segment), Message(sent, vector), merge)

    def _write(
        self, event: Event, message: Message, merge: Callable[[SegmentState, float], Residuals]
    ) -> None:
        def write(state: SegmentState) -> tuple[SegmentState, None]:
            given = self._wire.given(state, with_optimizer=True)
            now = self._clock.now()
            if self._recording is not None:
                self._recording.merged(event._replace(now=now), message)
            return updated(state, merge(given, now), given), None

        self._store.update(event.segment, write)
