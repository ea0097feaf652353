r"""A2CiD2: randomized pairwise gossip with a continuous momentum, here on every segment by itself.

before every event:   (x, twin) <- exp(eta D [[-1, 1], [1, -1]]) (x, twin)      D since the last event
gradient:             the same step on x and on twin                           apply_gradient
exchange with y:      x <- x + (y - sent) / 2 ; twin <- twin + alpha (y - sent)  payload, receive
Poisson(rate) exchanges of a worker for each of its gradients                  requests
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from layup_jax.draws import Draws
from layup_jax.mixing import continuous_momentum
from layup_jax.strategies.base import OnTopology, require_undirected
from layup_jax.topology import Topology
from layup_jax.types import Array, Exchange, PyTree, Request, SegmentState, SegmentUpdated

_NEW = 0.1  # weight of the newest interval in the mean interval between exchanges
_WHETHER, _WHO = 0, 1  # what a random number is for


class Flowing(NamedTuple):
    """The mixing state of one segment; times in seconds, float32 scalars.

    Attributes:
      twin: the second variable, like params.
      since: when it flowed last.
      exchanged_at: when this segment was exchanged last; negative before the first time.
      interval: mean time between exchanges; 0 before the second one, and nothing flows until then.
    """

    twin: PyTree
    since: Array
    exchanged_at: Array
    interval: Array


class A2CiD2(OnTopology):
    """Gossip on any undirected topology, accelerated.

    Time is measured in exchanges: the constants hold for one exchange of a worker in a unit of time,
    and a unit is the mean interval between those that took place, measured for each segment. Where all
    requests are served this is the paper's clock, 1 / rate gradient steps. Differs from the official
    code: it measures gradient steps and trusts the rate; on a slow link, or where requests replace one
    another, the momentum would then be too strong for the exchanges there are.

    References:
      arXiv 2306.08289. One clock and one twin for each segment instead
      of the whole model is ours; the partition `model` gives the paper's algorithm.
    """

    name = "a2cid2"
    asks = Exchange
    mixing = "continuous_momentum"

    def __init__(
        self, optimizer: optax.GradientTransformation, topology: Topology, rate: float = 1.0
    ):
        """Takes what all workers share.

        Args:
          optimizer: any optax transformation; each of its updates is applied to both variables.
          topology: undirected; gives the constants, and peers are drawn from it.
          rate: exchanges of a worker for each of its gradients, in expectation; positive.

        Raises:
          ConfigError: the topology is directed.
        """
        super().__init__(optimizer, topology)
        require_undirected(self.name, topology)
        self._rate = rate
        self._momentum = continuous_momentum.momentum(topology.chi1(), topology.chi2())

    def init_mixing(self, params: PyTree) -> Flowing:
        """The twin starts equal to the parameters."""
        zero = jnp.zeros((), jnp.float32)
        return Flowing(jax.tree.map(jnp.copy, params), zero, zero - 1, zero)

    def apply_gradient(self, state: SegmentState, grads: PyTree, now: Array) -> SegmentState:
        """Flows, then makes one optax step on both variables."""
        state = self._flowed(state, now)
        updates, opt_state = self._optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        twin = optax.apply_updates(state.mixing.twin, updates)
        mixing = state.mixing._replace(twin=twin)
        return state._replace(params=params, opt_state=opt_state, mixing=mixing)

    def requests(self, event: SegmentUpdated, draws: Draws) -> tuple[Request, ...]:
        """Poisson(rate / 2) exchanges, for a worker is asked as often as it asks.

        All segments of a step draw the same numbers, so that they travel together.
        """
        count = _poisson(self._rate / 2, draws.uniform(_WHETHER, event.step))
        found = []
        for lane in range(count):
            uniform = draws.uniform(_WHO, event.step, lane)
            peer = self.topology.peer(draws.rank, event.step, uniform)
            if peer is not None:
                found.append(Exchange(event.segment, peer, lane))
        return tuple(found)

    def payload(self, state: SegmentState, now: Array) -> tuple[SegmentState, PyTree]:
        """Flows up to now, then gives the parameters: so both sides average at one time."""
        state = self._flowed(state, now)
        return state, state.params

    def receive(
        self, state: SegmentState, sent: PyTree | None, payload: PyTree, now: Array
    ) -> SegmentState:
        """Moves both variables towards the peer."""
        state = self._flowed(state, now)
        mixing: Flowing = state.mixing
        params, twin = continuous_momentum.merge(
            state.params, mixing.twin, sent, payload, self._momentum.alpha
        )
        lap = now - mixing.exchanged_at
        mean = jnp.where(mixing.interval > 0, mixing.interval + _NEW * (lap - mixing.interval), lap)
        interval = jnp.where(mixing.exchanged_at < 0, 0.0, mean)
        at = jnp.asarray(now, jnp.float32)
        return state._replace(params=params, mixing=Flowing(twin, mixing.since, at, interval))

    def _flowed(self, state: SegmentState, now: Array) -> SegmentState:
        mixing: Flowing = state.mixing
        elapsed = jnp.maximum(now - mixing.since, 0.0)
        units = jnp.where(mixing.interval > 0, elapsed / jnp.maximum(mixing.interval, 1e-9), 0.0)
        exponent = self._momentum.eta * units
        params, twin = continuous_momentum.flow(state.params, mixing.twin, exponent)
        since = jnp.asarray(now, jnp.float32)
        return state._replace(params=params, mixing=mixing._replace(twin=twin, since=since))


def _poisson(mean: float, uniform: float) -> int:
    """The quantile of a Poisson distribution: how often something happens."""
    count, probability = 0, math.exp(-mean)
    below = probability
    while uniform >= below and probability > 0:
        count += 1
        probability *= mean / count
        below += probability
    return count
