"""Push-sum as the mixing of a strategy: a weight for each segment, which travels with what is sent."""

from __future__ import annotations

from layup_jax.mixing import push_sum
from layup_jax.strategies.base import OnTopology
from layup_jax.types import Array, PyTree, SegmentState


class Weighted(OnTopology):
    """What all push-sum methods share; a payload is (params, share of the weight)."""

    weighted = True
    mixing = "push_sum"

    def init_mixing(self, params: PyTree) -> PyTree:
        """The push-sum weight of the segment."""
        del params
        return push_sum.initial_weight()

    def weight(self, state: SegmentState) -> Array:
        """The push-sum weight."""
        return state.mixing

    def receive(
        self, state: SegmentState, sent: PyTree | None, payload: PyTree, now: Array
    ) -> SegmentState:
        """The weighted mean of what is here and what came: x <- x + x_j, w <- w + w_j."""
        del sent, now
        params, weight = push_sum.merge(state.params, state.mixing, *payload)
        return state._replace(params=params, mixing=weight)
