"""DDP: one step on the mean gradient of all workers, which therefore never differ."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from layup_jax.draws import Draws
from layup_jax.strategies.base import OptaxStrategy
from layup_jax.types import AllReduce, Array, PyTree, Request, SegmentState, SegmentUpdated


class DDP(OptaxStrategy):
    """Synchronous data parallelism: each segment's gradient is averaged while the backward pass goes on.

    The step on the mean is taken before the next forward pass of the segment, which waits for it: so
    sums of late layers run beside the backward pass of early ones, and those of early layers beside
    nothing. The gradient waits in the mixing state.

    References:
      Li et al. 2020, "PyTorch distributed", arXiv 2006.15704, section 3.2; our segments are its buckets.
    """

    name = "ddp"
    asks = AllReduce
    mixing = "all_reduce"

    def init_mixing(self, params: PyTree) -> PyTree:
        """Room for the gradient."""
        return jax.tree.map(jnp.zeros_like, params)

    def apply_gradient(self, state: SegmentState, grads: PyTree, now: Array) -> SegmentState:
        """Keeps the gradient; nothing is updated yet."""
        del now
        return state._replace(mixing=grads)

    def requests(self, event: SegmentUpdated, draws: Draws) -> tuple[Request, ...]:
        """The mean gradient, at once."""
        del draws
        return (AllReduce(event.segment),)

    def payload(self, state: SegmentState, now: Array) -> tuple[SegmentState, PyTree]:
        """The gradient."""
        del now
        return state, state.mixing

    def receive(
        self, state: SegmentState, sent: PyTree | None, payload: PyTree, now: Array
    ) -> SegmentState:
        """One optax step on the mean gradient."""
        del sent
        return super().apply_gradient(state, payload, now)
