"""What workers tell each other about one segment, with whole states: as a run does it, without one.

messages = Messages(strategy)
left, payload = messages.send(left, now)
right = messages.take(right, None, payload, now)          # of a push
left, right = messages.meet(left, right, now)             # whatever the strategy asks for
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp

from layup_jax.engine.wire import bare
from layup_jax.strategies import Strategy
from layup_jax.tree import decode, encode
from layup_jax.types import AllReduce, Array, NeighbourGather, Push, PyTree, SegmentState


def mean(payloads: Sequence[PyTree]) -> PyTree:
    """The mean of all workers' payloads, computed as on the wire."""
    total = jnp.sum(jnp.stack([encode(each) for each in payloads]), axis=0)
    return decode(total / len(payloads), payloads[0])


class Messages:
    """A strategy's `payload` and `receive`, which see only what they see in a run."""

    def __init__(self, strategy: Strategy):
        """Takes the algorithm."""
        self._strategy = strategy
        self.is_collective = strategy.asks in (AllReduce, NeighbourGather)

    def seen(self, state: SegmentState) -> SegmentState:
        """The state as `receive` sees it: with the optimizer's where a collective asked."""
        return state._replace(model_state=None) if self.is_collective else bare(state)

    def send(self, state: SegmentState, now: Array) -> tuple[SegmentState, PyTree]:
        """What is left after sending, and what is sent."""
        changed, payload = self._strategy.payload(bare(state), now)
        kept = {"opt_state": state.opt_state, "model_state": state.model_state}
        return changed._replace(**kept), payload

    def take(
        self, state: SegmentState, sent: PyTree | None, payload: PyTree, now: Array
    ) -> SegmentState:
        """The state after merging what arrived."""
        changed = self._strategy.receive(self.seen(state), sent, payload, now)
        if not self.is_collective:
            changed = changed._replace(opt_state=state.opt_state)
        return changed._replace(model_state=state.model_state)

    def meet(
        self, left: SegmentState, right: SegmentState, now: Array
    ) -> tuple[SegmentState, SegmentState]:
        """One communication: a push from left to right, or both give and both take."""
        left, mine = self.send(left, now)
        if self._strategy.asks is Push:
            return left, self.take(right, None, mine, now)
        right, theirs = self.send(right, now)
        if self._strategy.asks is AllReduce:
            average = mean([mine, theirs])
            return self.take(left, None, average, now), self.take(right, None, average, now)
        return self.take(left, mine, theirs, now), self.take(right, theirs, mine, now)
