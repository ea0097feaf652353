r"""CO2: SlowMo whose averages take a whole round to arrive, while the next round is trained.

end of round t:  m <- clip(beta m + (theta_{t-1} - mean_{t-1}) / Lambda, phi)       receive
                 theta_{t+1} <- theta_t - alpha m
                 x_t goes into a sum that is merged at the end of round t + 1       payload
                 everybody goes on from theta_{t+1}
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from layup_jax.strategies.local_sgd import Averaging, Rounds
from layup_jax.types import Array, PyTree, SegmentState

Penalty = Callable[[PyTree], Array | float]


class CO2Options(NamedTuple):
    """The outer step.

    Attributes:
      learning_rate: alpha; below 1 - beta, because a late step overshoots: where a round goes all the way
        to the optimum of a quadratic, alpha + beta above 1 diverge.
      momentum: beta.
      clip: phi, largest magnitude of any element of the momentum; None for no limit.
      penalty: Lambda as a function of theta_t - theta_{t-1}, the gap that a late mean has to bridge.
    """

    learning_rate: float = 0.4
    momentum: float = 0.5
    clip: float | None = None
    penalty: Penalty = lambda gap: 1.0


class Late(NamedTuple):
    """The mixing state of one segment; all like params, the same on all workers.

    Attributes:
      anchor: theta_t, where this round began.
      before: theta_{t-1}, where the round began whose mean is under way.
      momentum: m.
    """

    anchor: PyTree
    before: PyTree
    momentum: PyTree


class CO2(Averaging):
    """Fully overlapped averaging: nobody waits unless a sum takes longer than a round.

    The outer learning rate must be smaller than SlowMo's (see `CO2Options`); the default is ours.
    The first round has no mean to step on, so the second begins where the first did: the method is SlowMo
    delayed by a round throughout.

    References:
      arXiv 2401.16265, algorithm 1. The penalty's formula could not be read: constant 1, or a callable.
      Differs from the released code, which discards what its clip returns and waits in its outer step.
    """

    name = "co2"

    def __init__(
        self,
        optimizer: optax.GradientTransformation,
        period: int,
        options: CO2Options | None = None,
    ):
        """Takes the inner optimizer, the steps of a round, and the outer step."""
        super().__init__(optimizer, Rounds(period))
        self._due = period
        self._options = options or CO2Options()

    def init_mixing(self, params: PyTree) -> Late:
        """Everything begins at the initial parameters."""
        anchor, before = (jax.tree.map(jnp.copy, params) for _ in range(2))
        return Late(anchor, before, jax.tree.map(jnp.zeros_like, params))

    def payload(self, state: SegmentState, now: Array) -> tuple[SegmentState, PyTree]:
        """What was trained, without the outer step, from which the next round starts."""
        del now
        late: Late = state.mixing
        trained = jax.tree.map(
            lambda x, anchor, before: x - (anchor - before), state.params, late.anchor, late.before
        )
        return state._replace(params=late.anchor), trained

    def receive(
        self, state: SegmentState, sent: PyTree | None, payload: PyTree, now: Array
    ) -> SegmentState:
        """The outer step on the round before this one; what was trained meanwhile stays on top of it."""
        del sent, now
        options, late = self._options, state.mixing
        gap = jax.tree.map(lambda anchor, before: anchor - before, late.anchor, late.before)
        penalty = options.penalty(gap)

        def moved(momentum: Array, before: Array, mean: Array) -> Array:
            new = options.momentum * momentum + ((before - mean) / penalty).astype(momentum.dtype)
            return new if options.clip is None else jnp.clip(new, -options.clip, options.clip)

        momentum = jax.tree.map(moved, late.momentum, late.before, payload)
        anchor = jax.tree.map(
            lambda theta, m: theta - options.learning_rate * m, late.anchor, momentum
        )
        params = jax.tree.map(
            lambda x, new, old: x + (new - old), state.params, anchor, late.anchor
        )
        return state._replace(params=params, mixing=Late(anchor, late.anchor, momentum))
