"""capture and restore are inverses, and what exists elsewhere is not stored again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from layup_jax.engine.engine import Engine, Moment
from layup_jax.engine.residuals import Residuals, capture, restore
from layup_jax.strategies import Local


def affine(params, inputs):
    return inputs @ params["kernel"] + params["bias"][None]


def affine_tanh(params, inputs):
    return jnp.tanh(affine(params, inputs))


def squared(params, inputs):
    return jnp.sum(jnp.square(affine(params, inputs)))


def skipping(params, inputs):
    return affine_tanh(params, inputs) @ params["kernel"] + inputs


PARAMS = {"kernel": np.random.default_rng(0).normal(size=(4, 4)), "bias": np.arange(4.0)}
INPUTS = np.random.default_rng(1).normal(size=(3, 4))


def captured(function):
    """(outputs, residuals) of a compiled forward, and the direct cotangents for ones."""

    @jax.jit
    def forward(params, inputs):
        outputs, pullback = jax.vjp(function, params, inputs)
        return outputs, capture(pullback, params=params, inputs=inputs, outputs=outputs)

    outputs, pullback = jax.vjp(function, PARAMS, INPUTS)
    return *forward(PARAMS, INPUTS), pullback(jnp.ones_like(outputs))


@pytest.mark.parametrize("function", [affine, affine_tanh, squared, skipping])
def test_restore_is_the_inverse_of_capture(double, function):
    outputs, residuals, expected = captured(function)

    @jax.jit
    def backward(residuals, params, inputs, outputs):
        pullback = restore(residuals, params=params, inputs=inputs, outputs=outputs)
        return pullback(jnp.ones_like(outputs))

    found = backward(residuals, PARAMS, INPUTS, outputs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, expected)


@pytest.mark.parametrize("function", [affine, affine_tanh, squared, skipping])
def test_params_inputs_and_outputs_are_not_stored(function):
    outputs, residuals, _ = captured(function)
    known = {np.asarray(leaf).tobytes() for leaf in jax.tree.leaves((PARAMS, INPUTS, outputs))}
    stored = [np.asarray(leaf).tobytes() for leaf in residuals.arrays]
    assert not known & set(stored)
    assert len(stored) == len(set(stored))


def test_a_linear_map_stores_nothing():
    assert captured(affine)[1].arrays == []


def test_a_layer_stores_only_what_is_new():
    engine = Engine(tiny.mlp_model(3), [(i, i + 1) for i in range(3)], tiny.loss, Local(tiny.sgd()))
    state, batch = engine.init()[0], tiny.features()
    _, passed = engine.forward(0, state, batch.inputs, batch, Moment(0, 0, 0))
    assert passed.params is state.params
    assert passed.inputs[0] is batch.inputs
    known = {np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(passed[:3])}
    assert not known & {np.asarray(leaf).tobytes() for leaf in passed.residuals.arrays}


leaves = st.lists(st.integers(0, 5), min_size=0, max_size=12)


@given(leaves, st.sets(st.integers(0, 5)))
def test_every_leaf_comes_back_in_its_place(places, known_indices):
    arrays = [np.full(2, index) for index in range(6)]
    known = {"known": [arrays[index] for index in sorted(known_indices)]}
    closure = {str(at): arrays[index] for at, index in enumerate(places)}
    residuals = capture(closure, **known)
    assert len(residuals.arrays) == len(set(places) - known_indices)
    back = restore(residuals, **known)
    assert back.keys() == closure.keys()
    assert all(back[key] is closure[key] for key in closure)


def test_residuals_are_a_pytree():
    residuals = captured(affine_tanh)[1]
    again = jax.tree.map(lambda leaf: leaf, residuals)
    assert isinstance(again, Residuals)
    assert again.recipe is residuals.recipe
