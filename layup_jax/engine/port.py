"""The parameter store as the communication thread sees it: flat vectors out, flat vectors in.

vector = port.outgoing(segment)                    # the newest state, as the strategy sends it
port.incoming(segment, sent=vector, received=other)
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from layup_jax.clock import Clock
from layup_jax.engine.recording import Event, Message, Recording
from layup_jax.engine.residuals import Residuals
from layup_jax.engine.wire import Wire, updated
from layup_jax.store import ParameterStore
from layup_jax.types import Array, SegmentState


class Port:
    """Applies a strategy's `payload` and `receive` to the store.

    Threads: one, the communication thread. Blocks: while the compute thread writes that segment.
    """

    def __init__(
        self, store: ParameterStore, wire: Wire, clock: Clock, recording: Recording | None = None
    ):
        """Takes the store, the compiled functions, the time they are given, and where to record."""
        self._recording = recording
        self._store = store
        self._wire = wire
        self._clock = clock
        self.shapes = tuple(wire.shape(wire.given(state)) for state in store.snapshot())

    def outgoing(self, segment: int) -> Array:
        """The vector to send now; what the strategy changes by sending is in the store on return."""
        return self._give("outgoing", segment, self._wire.outgoing)

    def contribution(self, segment: int) -> Array:
        """The same, with a last element that counts who contributed to a sum."""
        return self._give("contribution", segment, self._wire.contribution)

    def incoming(self, segment: int, sent: Array | None, received: Array | np.ndarray) -> None:
        """Merges a received vector into the store.

        Args:
          segment: which one.
          sent: in an exchange, the very vector that `outgoing` gave; None for a push.
          received: the peer's vector; must never be written to again (it may become a jax array
            without a copy).
        """
        placed = self._wire.placed(received)

        def merge(given: SegmentState, now: float) -> Residuals:
            return self._wire.incoming(given, sent, placed, now)

        self._merge(Event("incoming", segment), Message(sent, received), merge)

    def average(self, segment: int, total: Array | np.ndarray) -> None:
        """Merges a sum over workers of what `contribution` gave."""
        placed = self._wire.placed(total)

        def merge(given: SegmentState, now: float) -> Residuals:
            return self._wire.average(given, placed, now)

        self._merge(Event("background", segment), Message(None, total), merge)

    def _give(self, kind: str, segment: int, compiled: Callable) -> Array:
        def write(state: SegmentState) -> tuple[SegmentState, Array]:
            given, now = self._wire.given(state), self._clock.now()
            if self._recording is not None:
                self._recording.add(Event(kind, segment, now=now))
            changed, vector = compiled(given, now)
            return updated(state, changed, given), vector

        return self._store.update(segment, write)[0]

    def _merge(
        self, event: Event, message: Message, merge: Callable[[SegmentState, float], Residuals]
    ) -> None:
        def write(state: SegmentState) -> tuple[SegmentState, None]:
            given, now = self._wire.given(state), self._clock.now()
            if self._recording is not None:
                self._recording.merged(event._replace(now=now), message)
            return updated(state, merge(given, now), given), None

        self._store.update(event.segment, write)

    def warm_up(self, prepare: Callable[[Array], None] | None) -> None:
        """Compiles both directions for every segment; leaves the store changed.

        Args:
          prepare: called with a vector of each segment, for the transport to compile exchanges; None
            where messages go one way.
        """
        for segment in range(len(self._store)):
            vector = self.outgoing(segment)
            if prepare is None:
                self.incoming(segment, None, np.asarray(vector))
            else:
                prepare(vector)
                self.incoming(segment, vector, vector)

    def warm_up_averages(self, prepare: Callable[[Array], None]) -> None:
        """The same for averages; `prepare` lets the transport compile sums."""
        for segment in range(len(self._store)):
            vector = self.contribution(segment)
            prepare(vector)
            self.average(segment, np.asarray(vector))
