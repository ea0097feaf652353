"""LayUp: every segment is updated the moment its gradient exists, and gossiped from then on.

for l = L, ..., 1, as backpropagation yields g^l:
    x^l <- x^l + opt_l(g^l)                               apply_gradient
    pairwise: exchange x^l with a random worker           requests -> Exchange
    push_sum: send half of w^l, with x^l, to one          requests -> Push
"""

from __future__ import annotations

from typing import NamedTuple

import optax

from layup_jax.draws import Draws
from layup_jax.mixing import pairwise, push_sum
from layup_jax.strategies.base import OnTopology, require_undirected
from layup_jax.strategies.weighted import Weighted
from layup_jax.topology import Topology
from layup_jax.types import Array, Exchange, Push, PyTree, Request, SegmentState, SegmentUpdated


class LayUpOptions(NamedTuple):
    """What can be chosen.

    Attributes:
      mixing: pairwise | push_sum, the rule by which peers are averaged.
      peer_per: step | segment; draw one peer for all segments of a step, or one for each.
      probability: of asking for communication at all, drawn for what `peer_per` names; in (0, 1].
    """

    mixing: str = "pairwise"
    peer_per: str = "step"
    probability: float = 1.0


class _LayUp(OnTopology):
    """What both mixing rules share: whom to ask, and when."""

    name = "layup"

    def __init__(
        self,
        optimizer: optax.GradientTransformation,
        topology: Topology,
        options: LayUpOptions,
    ):
        super().__init__(optimizer, topology)
        self._options = options

    def requests(self, event: SegmentUpdated, draws: Draws) -> tuple[Request, ...]:
        """One request for the segment just updated, with the gossip probability."""
        unit = event.segment + 1 if self._options.peer_per == "segment" else 0
        probability = self._options.probability
        if probability < 1 and draws.uniform(0, event.step, unit) >= probability:
            return ()
        peer = self.topology.peer(draws.rank, event.step, draws.uniform(1, event.step, unit))
        if peer is None:
            return ()
        return ((Push if self.asks is Push else Exchange)(event.segment, peer),)


class PairwiseLayUp(_LayUp):
    """LayUp with randomized pairwise averaging."""

    asks = Exchange
    mixing = "pairwise"

    def __init__(
        self,
        optimizer: optax.GradientTransformation,
        topology: Topology,
        options: LayUpOptions,
    ):
        """Takes what `layup` does.

        Raises:
          ConfigError: the topology is directed.
        """
        require_undirected(f"{self.name} with pairwise averaging", topology)
        super().__init__(optimizer, topology, options)

    def receive(
        self, state: SegmentState, sent: PyTree | None, payload: PyTree, now: Array
    ) -> SegmentState:
        """Moves half of the difference to the peer."""
        del now
        return state._replace(params=pairwise.merge(state.params, sent, payload))


class PushSumLayUp(Weighted, _LayUp):
    """LayUp with push-sum over one-way messages."""

    asks = Push

    def payload(self, state: SegmentState, now: Array) -> tuple[SegmentState, PyTree]:
        """The parameters and half of the weight; the other half stays."""
        del now
        kept, given = push_sum.split(state.mixing)
        return state._replace(mixing=kept), (state.params, given)


def kind(options: LayUpOptions) -> type[PairwiseLayUp] | type[PushSumLayUp]:
    """The class that does the chosen mixing."""
    return {"pairwise": PairwiseLayUp, "push_sum": PushSumLayUp}[options.mixing]


def layup(
    optimizer: optax.GradientTransformation,
    topology: Topology,
    options: LayUpOptions | None = None,
) -> PairwiseLayUp | PushSumLayUp:
    """LayUp.

    Args:
      optimizer: any optax transformation; applied to each segment by itself, so a global norm
        inside it is the norm of one segment.
      topology: peers are drawn from it.
      options: mixing rule, peer drawing, gossip probability.

    Raises:
      ConfigError: pairwise averaging on a directed topology.

    References:
      arXiv 2410.05985 v4. The update rule per layer is our reconstruction.
    """
    options = options or LayUpOptions()
    return kind(options)(optimizer, topology, options)
