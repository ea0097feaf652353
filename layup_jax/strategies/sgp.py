r"""SGP: push-sum in rounds, over a directed graph whose edges take turns; OSGP overlaps a round.

x = w z, with z the parameters that everybody sees and w the push-sum weight
    gradient:  x <- x + opt(g at z)                      apply_gradient: z <- z + opt(g) / w
    round:     give p (x, w) to each target, keep as much    payload
               add what the sources give                     receive
"""

from __future__ import annotations

import jax
import optax

from layup_jax.draws import Draws
from layup_jax.errors import ConfigError
from layup_jax.strategies.weighted import Weighted
from layup_jax.topology import Topology
from layup_jax.types import Array, NeighbourGather, PyTree, Request, SegmentState, SegmentUpdated


class SGP(Weighted):
    """Stochastic gradient push: after every step, a round of push-sum with the neighbours of that turn.

    The next forward pass waits for the round (SGP) or for the one before it (overlap-SGP). Graphs must
    give each worker equally many targets, as the published ones do, so p is the same for all: then the
    weights stay 1 in SGP, and return to 1 in OSGP as rounds pass.

    References:
      arXiv 1811.10792, algorithms 1 and 2 (overlap of one round).
    """

    asks = NeighbourGather

    def __init__(
        self, optimizer: optax.GradientTransformation, topology: Topology, *, overlap: bool = False
    ):
        """Takes what all workers share.

        Args:
          optimizer: any optax transformation; updates are applied to x = w z.
          topology: its targets of a step's turn are sent to.
          overlap: whether a step is taken while a round is under way.

        Raises:
          ConfigError: workers with different numbers of targets.
        """
        super().__init__(optimizer, topology)
        self.name = "osgp" if overlap else "sgp"
        self._due = int(overlap)
        self._share = 1 / (1 + _num_targets(self.name, topology))

    def apply_gradient(self, state: SegmentState, grads: PyTree, now: Array) -> SegmentState:
        """One optax step on x, seen from z."""
        del now
        updates, opt_state = self._optimizer.update(grads, state.opt_state, state.params)
        scaled = jax.tree.map(lambda each: each / state.mixing.astype(each.dtype), updates)
        params = optax.apply_updates(state.params, scaled)
        return state._replace(params=params, opt_state=opt_state)

    def requests(self, event: SegmentUpdated, draws: Draws) -> tuple[Request, ...]:
        """A round after every step."""
        targets = self.topology.targets(draws.rank, event.step)
        if not targets:
            return ()
        sources = self.topology.sources(draws.rank, event.step)
        return (NeighbourGather(event.segment, targets, sources, self._due),)

    def payload(self, state: SegmentState, now: Array) -> tuple[SegmentState, PyTree]:
        """The parameters and each target's share of the weight; one share stays."""
        del now
        share = state.mixing * self._share
        return state._replace(mixing=share), (state.params, share)


def _num_targets(name: str, topology: Topology) -> int:
    counts = {len(topology.targets(rank, 0)) for rank in range(topology.num_workers)}
    if len(counts) > 1:
        raise ConfigError(
            f"{name} needs a topology with equally many neighbours for all workers, got "
            f"'{topology.name}' with {min(counts)} to {max(counts)}; use 'one_peer_exponential'"
        )
    return counts.pop()
