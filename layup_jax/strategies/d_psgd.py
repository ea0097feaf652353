r"""D-PSGD: everybody averages with all neighbours after every step, in rounds.

x_i(k+1) = sum_j W_ij x_j(k) + opt(g at x_i(k))          W symmetric and doubly stochastic
"""

from __future__ import annotations

import optax

from layup_jax.draws import Draws
from layup_jax.mixing import pairwise
from layup_jax.strategies.base import OnTopology, require_undirected
from layup_jax.topology import Topology
from layup_jax.types import Array, NeighbourGather, PyTree, Request, SegmentState, SegmentUpdated


class DPSGD(OnTopology):
    """Synchronous neighbour averaging, a round under way while the next gradient is computed.

    W has the weight 1 / (1 + d) on every edge, d being the largest number of neighbours, and the rest on
    the diagonal; on regular graphs that is the uniform average over oneself and the neighbours.

    References:
      arXiv 1705.09056, algorithm 1.
    """

    name = "d_psgd"
    asks = NeighbourGather
    mixing = "neighbours"

    def __init__(self, optimizer: optax.GradientTransformation, topology: Topology):
        """Takes what all workers share.

        Raises:
          ConfigError: the topology is directed.
        """
        super().__init__(optimizer, topology)
        require_undirected(self.name, topology)
        degrees = [len(topology.targets(rank, 0)) for rank in range(topology.num_workers)]
        self._share = 1 / (1 + max(degrees))

    def requests(self, event: SegmentUpdated, draws: Draws) -> tuple[Request, ...]:
        """A round after every step, merged after the next one's gradient."""
        neighbours = self.topology.targets(draws.rank, event.step)
        return (NeighbourGather(event.segment, neighbours, neighbours, 1),) if neighbours else ()

    def receive(
        self, state: SegmentState, sent: PyTree | None, payload: PyTree, now: Array
    ) -> SegmentState:
        """Moves by one neighbour's share of the difference."""
        del now
        return state._replace(params=pairwise.merge(state.params, sent, payload, self._share))
