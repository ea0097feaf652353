r"""Methods with an outer optimizer: SlowMo and DiLoCo step from round to round on the mean progress.

every H steps:   D = theta - mean of the workers' parameters
                 theta <- theta + outer(D) ; every worker goes on from theta
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from layup_jax.strategies.local_sgd import Averaging, Rounds
from layup_jax.types import Array, PyTree, SegmentState


class Outer(NamedTuple):
    """The mixing state of one segment.

    Attributes:
      anchor: theta, where the round began; like params, the same on all workers.
      opt_state: of the outer optimizer.
    """

    anchor: PyTree
    opt_state: PyTree


class OuterOptimization(Averaging):
    """LocalSGD whose means are gradients for an optimizer of the rounds.

    SlowMo is `slow_momentum`, DiLoCo `nesterov`, any other optax transformation is welcome. The inner
    optimizer's state stays with each worker.

    References:
      SlowMo, arXiv 1910.00643, algorithm 1; DiLoCo, arXiv 2311.08105, algorithm 1.
    """

    def __init__(
        self,
        optimizer: optax.GradientTransformation,
        rounds: Rounds,
        outer: optax.GradientTransformation,
        name: str = "outer",
    ):
        """Takes the inner optimizer, when rounds end, the outer optimizer, and the name to report."""
        super().__init__(optimizer, rounds)
        self.name = name
        self._outer = outer

    def init_mixing(self, params: PyTree) -> Outer:
        """The first round begins at the initial parameters."""
        return Outer(jax.tree.map(jnp.copy, params), self._outer.init(params))

    def receive(
        self, state: SegmentState, sent: PyTree | None, payload: PyTree, now: Array
    ) -> SegmentState:
        """One step of the outer optimizer."""
        del sent, now
        mixing = outer_step(self._outer, state.mixing, payload)
        return state._replace(params=mixing.anchor, mixing=mixing)


def outer_step(optimizer: optax.GradientTransformation, outer: Outer, mean: PyTree) -> Outer:
    """One step of the rounds: theta + outer(theta - mean)."""
    progress = jax.tree.map(lambda anchor, each: anchor - each, outer.anchor, mean)
    updates, opt_state = optimizer.update(progress, outer.opt_state, outer.anchor)
    return Outer(optax.apply_updates(outer.anchor, updates), opt_state)


def nesterov(learning_rate: float, momentum: float) -> optax.GradientTransformation:
    """DiLoCo's outer optimizer."""
    return optax.sgd(learning_rate, momentum=momentum or None, nesterov=bool(momentum))


def slow_momentum(
    learning_rate: float,
    momentum: float,
    inner: optax.ScalarOrSchedule = 1.0,
    rounds: Rounds | None = None,
) -> optax.GradientTransformation:
    r"""SlowMo's outer optimizer.

    :math:`u \leftarrow \beta u + (\theta - \bar x)/\gamma`, then
    :math:`\theta \leftarrow \theta - \alpha\gamma u`.

    Args:
      learning_rate: alpha.
      momentum: beta.
      inner: gamma, the inner learning rate; a constant cancels, a schedule (of inner steps) rescales
        the momentum that earlier rounds left.
      rounds: when they end, which says at which steps the schedule is looked up; by default every step.

    References:
      arXiv 1910.00643, equations 2 and 3.
    """
    if not callable(inner):
        return optax.sgd(learning_rate, momentum=momentum or None)
    schedule, (period, local_from) = inner, rounds or Rounds(1)

    def gamma(count) -> Array:  # of the round's last step; never 0, where a cosine ends
        local = local_from + (count - local_from + 1) * period - 1
        return jnp.maximum(schedule(jnp.where(count < local_from, count, local)), 1e-8)

    return optax.chain(
        optax.scale_by_schedule(lambda count: 1 / gamma(count)),
        optax.trace(momentum),
        optax.scale_by_schedule(lambda count: -learning_rate * gamma(count)),
    )
