"""What a forward pass keeps: nothing cheap, and nothing rounded to the precision that it has."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from layup_jax.engine.recompute import without_cheap_residuals, without_rounding


def _layer(kernel, inputs):
    return jnp.tanh(2 * jnp.sin(inputs @ kernel)) + inputs


def _linearised(kernel, inputs):
    return jax.vjp(without_cheap_residuals(_layer), kernel, inputs)


def _arguments(dtype):
    random = np.random.default_rng(0)
    return jnp.asarray(random.normal(size=(4, 4)), dtype), jnp.asarray(
        random.normal(size=(3, 4)), dtype
    )


@pytest.mark.parametrize(("dtype", "left"), [("float32", False), ("bfloat16", True)])
def test_only_what_rounds_nothing_is_left_out(dtype, left):
    arguments = _arguments(dtype)
    assert "reduce_precision" in str(jax.make_jaxpr(_linearised)(*arguments))
    exact = jax.make_jaxpr(without_rounding(_linearised))(*arguments)
    assert ("reduce_precision" in str(exact)) is left


def test_values_and_gradients_are_the_same_bits():
    arguments = _arguments("float32")
    expected, plain = jax.vjp(_layer, *arguments)
    found, pullback = without_rounding(_linearised)(*arguments)
    np.testing.assert_array_equal(found, expected)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
        pullback(jnp.ones_like(found)),
        plain(jnp.ones_like(expected)),
    )


def test_what_was_given_is_known_again():
    arguments = _arguments("float32")
    _, pullback = without_rounding(_linearised)(*arguments)
    kept = {id(leaf) for leaf in jax.tree.leaves(pullback)}
    assert {id(each) for each in arguments} <= kept


@pytest.mark.parametrize("function", [jax.nn.relu, jax.nn.relu6])
def test_what_a_cheap_call_returns_is_made_again(function):
    def run(inputs):
        return jnp.sin(inputs) * function(jnp.cos(inputs))

    inputs = jnp.linspace(-3.0, 3.0, 5)
    _, pullback = jax.vjp(without_cheap_residuals(run), inputs)
    kept = [leaf for leaf in jax.tree.leaves(pullback) if leaf.shape == (5,)]
    assert not any(np.array_equal(leaf, function(jnp.cos(inputs))) for leaf in kept)
    assert any(np.array_equal(leaf, jnp.cos(inputs)) for leaf in kept)
