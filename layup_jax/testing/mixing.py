"""The conformance suite of mixing rules: shapes, inputs and mass are kept, the mean is reached.

A rule is tried as an object like this, whose state is (parameters, weight):

    class Halving:
        mutual = True                        # both sides of an exchange give before either takes

        def init(self, params):
            return params, jnp.ones(())

        def give(self, state):
            return state, state[0]           # what is left, and the message

        def take(self, state, sent, message):
            return pairwise.merge(state[0], sent, message), state[1]

    for check in CHECKS:
        check(Halving())
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from layup_jax.testing.comparison import (
    copied,
    require_close,
    require_equal,
    require_same_shapes,
    shapes,
)
from layup_jax.testing.compilations import compilations
from layup_jax.types import Array, PyTree

Weighted = tuple[PyTree, Array]


class Rule(Protocol):
    """What a mixing rule has to do with one segment.

    Attributes:
      mutual: whether both sides give and take; else one gives and the other takes.
    """

    mutual: bool

    def init(self, params: PyTree) -> Weighted:
        """Parameters and weight at the start."""
        ...

    def give(self, state: Weighted) -> tuple[Weighted, PyTree]:
        """What is left after giving, and the message."""
        ...

    def take(self, state: Weighted, sent: PyTree | None, message: PyTree) -> Weighted:
        """Merges a message; `sent` is what was given in return, None with a rule that is not mutual."""
        ...


class _Mass(NamedTuple):
    """What no exchange may change."""

    weight: float
    weighted: list[np.ndarray]


def _params(seed: int, dtype: Any = jnp.float32) -> PyTree:
    rng = np.random.default_rng(seed)
    return {
        "kernel": jnp.asarray(rng.normal(size=(2, 3)), dtype),
        "none": (),
        "scale": jnp.asarray(rng.normal(), dtype),
    }


def _mass(states: list[Weighted]) -> _Mass:
    weights = [float(weight) for _, weight in states]
    leaves = [jax.tree.leaves(params) for params, _ in states]
    weighted = [
        np.tensordot(weights, np.array(each, float), 1) for each in zip(*leaves, strict=True)
    ]
    return _Mass(sum(weights), weighted)


def _exchange(rule: Rule, left: Weighted, right: Weighted) -> tuple[Weighted, Weighted]:
    """One exchange, or one message from left to right."""
    left, message = rule.give(left)
    if not rule.mutual:
        return left, rule.take(right, None, message)
    right, reply = rule.give(right)
    return rule.take(left, message, reply), rule.take(right, reply, message)


def _mix(rule: Rule, states: list[Weighted], times: int) -> Iterator[list[Weighted]]:
    """The states after each of so many exchanges between pairs drawn at random."""
    exchange = jax.jit(lambda one, other: _exchange(rule, one, other))
    rng, states = np.random.default_rng(1), list(states)
    for _ in range(times):
        left, right = rng.choice(len(states), 2, replace=False).tolist()
        states[left], states[right] = exchange(states[left], states[right])
        yield states


def keeps_shapes_and_dtypes(rule: Rule) -> None:
    """In every floating-point type that layers may have."""
    for dtype in (jnp.float32, jnp.bfloat16, jnp.float16):
        states = tuple(rule.init(_params(seed, dtype)) for seed in range(2))
        what = f"an exchange must keep all shapes and dtypes, those of {dtype.__name__} too"
        require_same_shapes(_exchange(rule, *states), shapes(states), what)


def leaves_its_arguments_alone(rule: Rule) -> None:
    """Nothing that it is given is changed in place."""
    states = tuple(rule.init(_params(seed)) for seed in range(2))
    before = copied(states)
    _exchange(rule, *states)
    require_equal(states, before, "arguments must not be changed in place")


def compiles_once(rule: Rule) -> None:
    """Giving and taking compile once for each shape."""
    give, take = jax.jit(lambda state: rule.give(state)), jax.jit(lambda *each: rule.take(*each))
    compiled = []
    for seed in range(2):
        state, other = rule.init(_params(seed)), rule.init(_params(seed + 7))
        with compilations() as names:
            state, sent = give(state)
            jax.block_until_ready(take(other, sent if rule.mutual else None, sent))
        compiled.append(names)
    assert compiled[0], "this version of jax does not say what it compiles"
    assert not compiled[1], f"a second call with equal shapes must not compile {compiled[1]}"


def keeps_the_mass(rule: Rule) -> None:
    """No exchange changes the sum of weights, or the weighted sum of parameters; in float64."""
    with jax.enable_x64(True):
        for num_workers in (2, 3, 5):
            states = [rule.init(_params(seed, jnp.float64)) for seed in range(num_workers)]
            before = _mass(states)
            for mixed in _mix(rule, states, 10):
                after, among = _mass(mixed), f"be kept among {num_workers} workers"
                require_close(after.weight, before.weight, f"weights must {among}", rtol=1e-6)
                what = f"the weighted sum must {among}"
                require_close(after.weighted, before.weighted, what, atol=1e-6)


def leaves_equal_models_as_they_are(rule: Rule) -> None:
    """Models that are equal stay as they are."""
    states = _exchange(rule, *(rule.init(_params(0)) for _ in range(2)))
    for params, _ in states:
        require_close(params, _params(0), "equal models must stay as they are", rtol=1e-6)


def reaches_the_mean(rule: Rule) -> None:
    """Random exchanges bring all workers to the mean of where they started."""
    for num_workers in (2, 3, 4, 8):
        states = [rule.init(_params(seed)) for seed in range(num_workers)]
        mean = jax.tree.map(lambda *leaves: np.mean(leaves, axis=0), *(p for p, _ in states))
        *_, mixed = _mix(rule, states, 80 * num_workers)
        for params, _ in mixed:
            what = f"{num_workers} workers must reach their mean in {80 * num_workers} exchanges"
            require_close(params, mean, what, atol=1e-6)


CHECKS = (
    keeps_shapes_and_dtypes,
    leaves_its_arguments_alone,
    compiles_once,
    keeps_the_mass,
    leaves_equal_models_as_they_are,
    reaches_the_mean,
)
