"""Arrays that later segments borrow, on their way beside the activations, and their cotangents back.

    inputs, loans = ways.taken(segment, inputs)                  # forward: what the segment is given
    outputs = ways.onward(segment, outputs, params, loans)
    cotangent, loans = ways.owed(segment, cotangent)             # backward
    cotangent = ways.returned(segment, cotangent, loans)

A borrowed array is the one that its owner's forward pass read in the same step. Its cotangent joins the
owner's own in the owner's vector-Jacobian product, so there is one update of it. Nothing is copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from layup_jax.models.layers import Segment
from layup_jax.types import Array, PyTree


class Flow(NamedTuple):
    """What goes from segment to segment where a model has ties.

    Attributes:
      values: activations, or the list of their cotangents.
      loans: the lent arrays, or their cotangents, by owner; None where there is none yet.
    """

    values: PyTree
    loans: tuple[Array | None, ...]


Cotangent = list[Array] | Flow | None  # of what a segment passes on; None above the last one


class Loans:
    """Who lends to whom. Pure; without ties everything passes through as it is."""

    def __init__(self, segments: Sequence[Segment]):
        """Takes all segments of a model, in order."""
        owners = tuple(dict.fromkeys(tie.owner for each in segments for tie in each.borrows))
        self._none = (None,) * len(owners)
        self._last = len(segments) - 1
        self._lends = [[owners.index(place) for place in each.lends] for each in segments]
        self._borrows = [[owners.index(tie.owner) for tie in each.borrows] for each in segments]
        self._segments = tuple(segments)

    def taken(self, segment: int, inputs: PyTree) -> tuple[PyTree, tuple[Array | None, ...]]:
        """What a segment is to be given, out of what the one before it passed on."""
        if not isinstance(inputs, Flow):
            return inputs, self._none
        values, loans = inputs
        borrows = self._borrows[segment]
        return (values, tuple(loans[owner] for owner in borrows)) if borrows else values, loans

    def onward(
        self, segment: int, outputs: PyTree, params: PyTree, loans: tuple[Array | None, ...]
    ) -> PyTree:
        """What a segment passes on; the last one its outputs alone."""
        if not self._none or segment == self._last:
            return outputs
        lent = dict(zip(self._lends[segment], self._segments[segment].lent(params), strict=True))
        return Flow(outputs, tuple(lent.get(index, loan) for index, loan in enumerate(loans)))

    def owed(self, segment: int, cotangent: Cotangent) -> tuple[PyTree, tuple[Array | None, ...]]:
        """The cotangents of what a segment has passed on and lent."""
        if not isinstance(cotangent, Flow):
            return cotangent, self._none
        values, loans = cotangent
        return [*values, *(loans[owner] for owner in self._lends[segment])], loans

    def returned(
        self, segment: int, cotangent: list[Array], loans: tuple[Array | None, ...] | None = None
    ) -> Cotangent:
        """The cotangents for the segment before, out of those of what a segment was given.

        Args:
          segment: which one.
          cotangent: of what it was given; that of borrowed arrays at the end.
          loans: what `owed` gave with it; None at the last segment, where nothing is owed yet.
        """
        if not self._none:
            return cotangent
        borrows = self._borrows[segment]
        count = len(cotangent) - len(borrows)
        totals = list(loans or self._none)
        for owner, new in zip(borrows, cotangent[count:], strict=True):
            total = totals[owner]
            totals[owner] = new if total is None else total + new
        return Flow(cotangent[:count], tuple(totals))
