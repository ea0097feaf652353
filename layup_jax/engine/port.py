"""The parameter store as the communication thread sees it: flat vectors out, flat vectors in.

vector = port.outgoing(segment)                    # the newest state, as the strategy sends it
port.incoming(segment, sent=vector, received=other)
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from layup_jax.clock import Clock
from layup_jax.engine.wire import Wire, bare, updated
from layup_jax.store import ParameterStore
from layup_jax.types import Array, SegmentState


class Port:
    """Applies a strategy's `payload` and `receive` to the store.

    Threads: one, the communication thread. Blocks: while the compute thread writes that segment.
    """

    def __init__(self, store: ParameterStore, wire: Wire, clock: Clock):
        """Takes the store, the compiled functions, and the time they are given."""
        self._store = store
        self._wire = wire
        self._clock = clock
        self.shapes = tuple(wire.shape(bare(state)) for state in store.snapshot())

    def outgoing(self, segment: int) -> Array:
        """The vector to send now; what the strategy changes by sending is in the store on return."""

        def write(state: SegmentState) -> tuple[SegmentState, Array]:
            given = bare(state)
            changed, vector = self._wire.outgoing(given, self._clock.now())
            return updated(state, changed, given), vector

        vector, _ = self._store.update(segment, write)
        return vector

    def incoming(self, segment: int, sent: Array | None, received: Array | np.ndarray) -> None:
        """Merges a received vector into the store.

        Args:
          segment: which one.
          sent: in an exchange, the very vector that `outgoing` gave; None for a push.
          received: the peer's vector; must never be written to again (it may become a jax array
            without a copy).
        """

        def write(state: SegmentState) -> tuple[SegmentState, None]:
            given = bare(state)
            changed = self._wire.incoming(given, sent, received, self._clock.now())
            return updated(state, changed, given), None

        self._store.update(segment, write)

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
