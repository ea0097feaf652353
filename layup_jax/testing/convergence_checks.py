"""Checks that workers come to where they should: to their mean, and to the minimum of a quadratic."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import optax

from layup_jax.testing.comparison import require_close
from layup_jax.testing.kinds import WORKERS, Make, gossips, make_network, only_averages
from layup_jax.testing.network import Gradient, Network, noise, nothing, starting_points

_LONGEST = 2000  # steps; an outer momentum of 0.9 takes a few dozen rounds
_LOOK = 20  # steps
_STEPS = 12
_TARGET = np.array([1.0, -2.0, 3.0], np.float32)
_AT_REST = 1e-6  # float32 numbers up to 4 stand still within a few times 2.4e-7
_DRIFT = 5e-6  # of a mean that up to some thousand merges move by 6e-8 each, in any direction
# Compiled and uncompiled steps of momentum round differently, each by 6e-8 of numbers up to 4.
_STEPWISE = {"rtol": 2e-6, "atol": 2e-6}


def brings_workers_to_their_mean(make: Make) -> None:
    """Without gradients, workers that start apart meet at the mean of where they started."""
    strategy = make(optax.sgd(0.0), WORKERS)
    if only_averages(strategy):
        network = make_network(strategy)
        mean = network.parameters().mean(axis=0)
        what = "workers must meet at the mean of where they started"
        _require_arrival(network, nothing, lambda: (network.parameters(), mean, _DRIFT), what)


def converges_on_a_quadratic(make: Make) -> None:
    """1, 2 and 4 workers with one target, (x - target)^2 / 2, all reach it; time goes on."""
    for num_workers in (1, 2, 4):
        network = make_network(make(optax.sgd(0.2), num_workers), num_workers)
        _require_target(network, f"{num_workers} workers must reach their target")


def converges_with_late_messages(make: Make) -> None:
    """The same with gossip that comes late."""
    strategy = make(optax.sgd(0.2), WORKERS)
    if gossips(strategy):
        network = make_network(strategy, held=3)
        _require_target(network, "workers must reach their target, with late messages too")


def finds_the_mean_of_different_targets(make: Make) -> None:
    """Each worker has a target of its own: the mean over workers reaches the mean of these.

    For gradients that are linear and taken together, the mean over workers that count the same is plain
    gradient descent, whatever they tell each other.
    """
    strategy = make(optax.sgd(0.2), WORKERS)
    if strategy.weighted or strategy.asks is None:
        return
    targets = np.random.default_rng(0).normal(size=(WORKERS, 3)).astype(np.float32)
    network = Network(strategy, starting_points(WORKERS, equal=True))
    mean = targets.mean(axis=0)
    _require_arrival(
        network,
        lambda rank, params: params - targets[rank],
        lambda: (network.parameters().mean(axis=0), mean, _DRIFT),
        "workers together must reach the mean of their targets",
        runs=False,
    )


def _to_target(rank: int, params: np.ndarray) -> np.ndarray:
    return params - _TARGET


def _require_target(network: Network, what: str) -> None:
    _require_arrival(network, _to_target, lambda: (network.parameters(), _TARGET, _AT_REST), what)


def _require_arrival(
    network: Network,
    gradient: Gradient,
    look: Callable[[], tuple[np.ndarray, np.ndarray, float]],
    what: str,
    *,
    runs: bool = True,
) -> None:
    """Steps until two looks on end find everything in its place.

    Args:
      network: steps.
      gradient: in each step.
      look: where everything is, where it should be, and the tolerance.
      what: is required.
      runs: whether time goes on.
    """
    was_there = False
    for step in range(_LONGEST):
        network.step(gradient, now=float(step) * runs)
        if step % _LOOK == _LOOK - 1:
            found, place, tolerance = look()
            is_there = np.allclose(found, place, rtol=0, atol=tolerance)
            if is_there and was_there:
                return
            if not np.isfinite(found).all():
                break
            was_there = is_there
    found, place, tolerance = look()
    what = f"{what} in {_LONGEST} steps"
    require_close(found, np.broadcast_to(place, found.shape), what, rtol=0, atol=tolerance)


def applies_gradients_as_optax_does(make: Make) -> None:
    """Each gradient makes one optax step at once."""
    optimizer = optax.sgd(0.1, momentum=0.9)
    strategy = make(optimizer, WORKERS)
    params: optax.Params = jnp.asarray(starting_points(1)[0, 0], jnp.float32)
    state, opt_state, draw = strategy.init(params, ()), optimizer.init(params), noise(3)
    for step in range(3):
        grads = jnp.asarray(draw(0, np.asarray(params)))
        updates, opt_state = optimizer.update(grads, opt_state, params)
        params = optax.apply_updates(params, updates)
        state = strategy.apply_gradient(state, grads, jnp.asarray(float(step)))
    require_close(state.params, params, "parameters must be what optax makes of them", rtol=1e-6)
    require_close(state.opt_state, opt_state, "so must the optimizer state", rtol=1e-6)


def trains_alone_as_optax_does(make: Make) -> None:
    """One worker alone is plain optax, with a learning rate that changes and momentum."""
    schedule = optax.cosine_decay_schedule(0.2, _STEPS)
    optimizer = optax.sgd(schedule, momentum=0.9)
    start = starting_points(1, segments=1)
    network = Network(make(optimizer, 1), start)
    params: optax.Params = jnp.asarray(start[0, 0], jnp.float32)
    opt_state = optimizer.init(params)
    for step in range(_STEPS):
        network.step(_to_target, now=float(step))
        grads = jnp.asarray(_to_target(0, np.asarray(params)))
        updates, opt_state = optimizer.update(grads, opt_state, params)
        params = optax.apply_updates(params, updates)
        state = network.finished(float(step)).states[0][0]
        what = f"one worker must be where optax alone is after step {step}"
        require_close(state.params, params, what, **_STEPWISE)
        require_close(state.opt_state, opt_state, what, **_STEPWISE)


CHECKS = (
    brings_workers_to_their_mean,
    converges_on_a_quadratic,
    converges_with_late_messages,
    finds_the_mean_of_different_targets,
)
PROMISES = (applies_gradients_as_optax_does, trains_alone_as_optax_does)
