"""Push-sum; what both rules share is in conformance."""

import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from layup_jax.mixing import push_sum


def test_starts_with_weight_one():
    weight = push_sum.initial_weight()
    assert (weight, weight.shape, weight.dtype) == (1, (), jnp.float32)


def test_halves_are_exact_for_a_hundred_pushes():
    weight, given_away = push_sum.initial_weight(), []
    for _ in range(100):
        weight, sent = push_sum.split(weight)
        given_away.append(float(sent))
    assert float(weight) == 2.0**-100
    assert given_away == [2.0**-power for power in range(1, 101)]


def test_a_merge_is_the_weighted_mean():
    merged, weight = push_sum.merge(
        {"a": jnp.array([1.0])}, jnp.float32(0.5), {"a": jnp.array([5.0])}, jnp.float32(1.5)
    )
    np.testing.assert_allclose(merged["a"], [4.0], rtol=1e-6)
    assert weight == 2


@given(st.floats(-100, 100, width=32), st.integers(1, 64), st.integers(1, 64))
def test_equal_models_stay_exactly_equal(x, w, v):
    merged, weight = push_sum.merge(
        jnp.float32(x), jnp.float32(w / 32), jnp.float32(x), jnp.float32(v / 32)
    )
    assert merged == np.float32(x)
    assert weight == (w + v) / 32


def test_a_vanishing_weight_takes_over_what_arrives():
    weight = jnp.float32(2.0**-126)
    merged, _ = push_sum.merge(jnp.float32(7), weight, jnp.float32(3), jnp.float32(0.5))
    assert merged == 3


def test_weights_that_differ_by_far_give_finite_means():
    tiny = jnp.float32(2.0**-126)
    merged, weight = push_sum.merge(jnp.float32(7), tiny, jnp.float32(3), tiny)
    assert merged == 5
    assert weight > 0
