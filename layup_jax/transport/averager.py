"""The averager of LAP-SGD: all segments in turn, over and over, beside whatever computes.

averager.begin()      # contributes the next segment, unless a sum is under way
averager.merge()      # once the sum is there
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from layup_jax.transport.collectives import Collectives, Ticket
from layup_jax.types import AllReduce, Array, Shape


class Port(Protocol):
    """What the averager needs of the parameter store."""

    shapes: tuple[Shape, ...]

    def contribution(self, segment: int) -> Array:
        """The vector to add to a sum over workers now."""
        ...

    def average(self, segment: int, total: Array | np.ndarray) -> None:
        """Merges a sum."""
        ...


class Averager:
    """One sum at a time. All workers go through the segments in the same order, last one first.

    A worker that stops contributes zeros to what the others still begin, as to any collective.
    Threads: the communication thread. Blocks: while a compute thread writes that segment.
    """

    def __init__(self, port: Port, collectives: Collectives):
        """Takes the parameters and what moves sums."""
        self._port = port
        self._collectives = collectives
        self._last = len(port.shapes) - 1
        self._segment = self._last
        self._open: Ticket | None = None

    def is_free(self) -> bool:
        """Whether no sum is under way."""
        return self._open is None

    def has_come(self) -> bool:
        """Whether a sum can be merged."""
        return self._open is not None and self._open.ready()

    def begin(self) -> None:
        """Contributes the next segment to a sum; while it is free."""
        vector = self._port.contribution(self._segment)
        self._open = self._collectives.ask(AllReduce(self._segment), vector)

    def merge(self) -> None:
        """Merges the sum that has come, and goes on to the next segment."""
        assert self._open is not None
        self._port.average(self._segment, self._open.received[0])
        self._open = None
        self._segment = self._segment - 1 if self._segment else self._last
