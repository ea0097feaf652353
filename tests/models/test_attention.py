"""Attention against plain numpy, its gradient against JAX's own, and what it leaves for that."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from layup_jax.engine.recompute import without_cheap_residuals
from layup_jax.models.attention import self_attention

BATCH, LENGTH, HEADS, FEATURES = 2, 5, 3, 4
WIDTH = HEADS * FEATURES


@pytest.fixture
def projected():
    random = np.random.default_rng(0)
    return random.normal(size=(BATCH, LENGTH, 3 * WIDTH))


def _in_numpy(projected, causal):
    """Sample by sample, head by head, token by token."""
    outputs = np.zeros((BATCH, LENGTH, WIDTH))
    for sample, head in np.ndindex(BATCH, HEADS):
        starts = [part * WIDTH + head * FEATURES for part in range(3)]
        query, key, value = (projected[sample, :, at : at + FEATURES] for at in starts)
        for token in range(LENGTH):
            end = token + 1 if causal else LENGTH
            scores = np.exp(key[:end] @ query[token] / np.sqrt(FEATURES))
            mixed = scores / scores.sum() @ value[:end]
            outputs[sample, token, starts[0] : starts[0] + FEATURES] = mixed
    return outputs


def _by_jax(projected, causal):
    parts = jnp.split(projected, 3, axis=-1)
    heads = [part.reshape(BATCH, LENGTH, HEADS, FEATURES) for part in parts]
    return jax.nn.dot_product_attention(*heads, is_causal=causal).reshape(BATCH, LENGTH, WIDTH)


@pytest.mark.parametrize("causal", [False, True])
def test_it_is_a_weighted_mean_of_values(double, projected, causal):
    outputs = self_attention(jnp.asarray(projected), heads=HEADS, causal=causal)
    np.testing.assert_allclose(outputs, _in_numpy(projected, causal), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("causal", [False, True])
def test_its_gradient_is_that_of_jax(projected, causal):
    inputs = jnp.asarray(projected, jnp.float32)
    expected, plain = jax.vjp(lambda x: _by_jax(x, causal), inputs)
    outputs, pullback = jax.vjp(lambda x: self_attention(x, heads=HEADS, causal=causal), inputs)
    cotangent = jnp.cos(jnp.arange(expected.size, dtype=jnp.float32)).reshape(expected.shape)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(pullback(cotangent)[0], plain(cotangent)[0], rtol=1e-4, atol=1e-5)


def test_no_token_sees_a_later_one(projected):
    inputs = jnp.asarray(projected, jnp.float32)
    changed = inputs.at[:, 3:].add(1.0)
    first, second = (self_attention(each, heads=HEADS, causal=True) for each in (inputs, changed))
    np.testing.assert_array_equal(first[:, :3], second[:, :3])


def test_it_keeps_the_dtype_and_computes_the_weights_in_32_bits(projected):
    inputs = jnp.asarray(projected, jnp.bfloat16)
    outputs = self_attention(inputs, heads=HEADS, causal=True)
    assert outputs.dtype == jnp.bfloat16
    exact = _in_numpy(np.asarray(inputs, np.float64), causal=True)
    np.testing.assert_allclose(np.asarray(outputs, np.float64), exact, rtol=0.03, atol=0.01)


def test_one_square_of_tokens_by_tokens_is_left_for_the_backward_pass(projected):
    inputs = jnp.asarray(projected, jnp.float32)
    run = without_cheap_residuals(lambda x: self_attention(x, heads=HEADS, causal=True))
    _, pullback = jax.vjp(run, inputs)
    squares = [x for x in jax.tree.leaves(pullback) if x.shape == (BATCH, HEADS, LENGTH, LENGTH)]
    assert len(squares) == 1
