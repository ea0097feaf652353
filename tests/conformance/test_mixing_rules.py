"""What every mixing rule must do: keep shapes, inputs and mass, compile once, reach the mean.

A rule is tried as give(state) -> (state, message) and take(state, sent, message) -> state. Both sides
of an exchange give before either takes; with a one-way rule only one gives.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from layup_jax.mixing import pairwise, push_sum


class Pairwise:
    mutual = True

    def init(self, params):
        return params, jnp.ones(())

    def give(self, state):
        return state, state[0]

    def take(self, state, sent, message):
        return pairwise.merge(state[0], sent, message), state[1]


class PushSum:
    mutual = False

    def init(self, params):
        return params, push_sum.initial_weight()

    def give(self, state):
        kept, sent = push_sum.split(state[1])
        return (state[0], kept), (state[0], sent)

    def take(self, state, sent, message):
        del sent
        return push_sum.merge(*state, *message)


class Mass(NamedTuple):
    """What no exchange may change."""

    weight: float
    weighted: list[np.ndarray]


RULES = [Pairwise(), PushSum()]
pytestmark = pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)


def _params(seed, dtype=jnp.float32):
    rng = np.random.default_rng(seed)
    return {
        "kernel": jnp.asarray(rng.normal(size=(2, 3)), dtype),
        "none": (),
        "scale": jnp.asarray(rng.normal(), dtype),
    }


def _mass(states):
    weights = [float(weight) for _, weight in states]
    leaves = [jax.tree.leaves(params) for params, _ in states]
    weighted = [
        sum(w * np.asarray(leaf, np.float64) for w, leaf in zip(weights, each, strict=True))
        for each in zip(*leaves, strict=True)
    ]
    return Mass(sum(weights), weighted)


def _exchange(rule, states, left, right):
    """One exchange: what the rule does to the list of states."""
    states[left], message = rule.give(states[left])
    if rule.mutual:
        states[right], reply = rule.give(states[right])
        states[left] = rule.take(states[left], message, reply)
        states[right] = rule.take(states[right], reply, message)
    else:
        states[right] = rule.take(states[right], None, message)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_shapes_and_dtypes_stay(rule, dtype):
    states = [rule.init(_params(seed, dtype)) for seed in range(2)]
    before = jax.eval_shape(lambda: tuple(states))
    _exchange(rule, states, 0, 1)
    assert jax.eval_shape(lambda: tuple(states)) == before


def test_arguments_are_not_changed(rule):
    states = [rule.init(_params(seed)) for seed in range(2)]
    kept, copies = list(states), jax.tree.map(np.array, states)
    _exchange(rule, states, 0, 1)
    jax.tree.map(np.testing.assert_array_equal, kept, copies)


def test_compiles_once(rule, compilations):
    give, take = jax.jit(rule.give), jax.jit(rule.take)
    for seed in range(2):
        state, other = rule.init(_params(seed)), rule.init(_params(seed + 7))
        with compilations() as compiled:
            state, sent = give(state)
            jax.block_until_ready(take(other, sent if rule.mutual else None, sent))
    assert compiled == []


@pytest.mark.parametrize("num_workers", [2, 3, 5])
def test_an_exchange_keeps_the_mass(rule, double, num_workers):
    rng = np.random.default_rng(0)
    states = [rule.init(_params(seed, jnp.float64)) for seed in range(num_workers)]
    before = _mass(states)
    for _ in range(10):
        _exchange(rule, states, *rng.choice(num_workers, 2, replace=False).tolist())
        after = _mass(states)
        np.testing.assert_allclose(after.weight, before.weight, rtol=1e-6)
        for left, right in zip(after.weighted, before.weighted, strict=True):
            np.testing.assert_allclose(left, right, atol=1e-6)


def test_equal_models_stay_as_they_are(rule):
    states = [rule.init(_params(0)) for _ in range(2)]
    _exchange(rule, states, 0, 1)
    for params, _ in states:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), params, _params(0))


@pytest.mark.parametrize("num_workers", [2, 3, 4, 8])
def test_random_gossip_reaches_the_mean(rule, num_workers):
    rng = np.random.default_rng(1)
    states = [rule.init(_params(seed)) for seed in range(num_workers)]
    exchange = jax.jit(lambda a, b: _pair(rule, a, b))
    mean = jax.tree.map(lambda *leaves: np.mean(leaves, axis=0), *(p for p, _ in states))
    for _ in range(80 * num_workers):
        left, right = rng.choice(num_workers, 2, replace=False).tolist()
        states[left], states[right] = exchange(states[left], states[right])
    for params, _ in states:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), params, mean)


def _pair(rule, left, right):
    states = [left, right]
    _exchange(rule, states, 0, 1)
    return tuple(states)
