"""Linear: nnx.Linear's values and parameters; its gradient sums over one axis."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from layup_jax.models.linear import Linear


def _pair(outputs=5):
    kinds = Linear, nnx.Linear
    return [kind(3, outputs, rngs=nnx.Rngs(0), param_dtype=jnp.float64) for kind in kinds]


def _gradient(module, inputs):
    graph, params = nnx.split(module)
    return jax.grad(lambda params: jnp.sum(nnx.merge(graph, params)(inputs) ** 2))(params)


def _products(module, inputs):
    """Of the compiled gradient: the shape of each result as it lies in memory."""
    graph, params = nnx.split(module)

    def squared(params, inputs):
        return jnp.sum(nnx.merge(graph, params)(inputs) ** 2)

    compiled = jax.jit(jax.grad(squared)).lower(params, inputs).compile().as_text()
    found = re.findall(r"\[(\d+),(\d+)\]\{(\d),\d\} dot\(", compiled)
    return {(m, n) if last == "1" else (n, m) for m, n, last in found}


@pytest.mark.parametrize("outputs", [2, 3, 5])
def test_values_and_gradients_are_those_of_nnx(double, outputs):
    ours, theirs = _pair(outputs)
    for shape in ((3,), (4, 3), (2, 4, 3), (0, 4, 3)):
        inputs = np.random.default_rng(0).normal(size=shape)
        np.testing.assert_allclose(ours(inputs), theirs(inputs), rtol=1e-12)
        found, expected = _gradient(ours, inputs), _gradient(theirs, inputs)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), found, expected)


def test_a_gradient_sums_over_one_axis(double):
    inputs = np.ones((2, 4, 3))
    most = []
    for module in _pair():
        equations = jax.make_jaxpr(lambda module=module: _gradient(module, inputs))().eqns
        numbers = [each.params["dimension_numbers"] for each in equations if "dot" in str(each)]
        most.append(max(len(contracted[0]) for contracted, _ in numbers))
    assert most == [1, 2]


def test_the_gradient_of_a_tall_matrix_is_made_transposed(double):
    ours, theirs = (_products(module, np.ones((4, 3))) for module in _pair(2))
    assert ("2", "3") in ours - theirs
    assert ("3", "5") in _products(_pair(5)[0], np.ones((4, 3)))


def test_a_gradient_has_the_dtype_of_its_matrix():
    module = Linear(3, 2, rngs=nnx.Rngs(0), preferred_element_type=jnp.float32)
    params = jax.tree.map(lambda value: value.astype(jnp.bfloat16), nnx.state(module))
    nnx.update(module, params)
    found = _gradient(module, jnp.ones((4, 3), jnp.bfloat16))
    assert {each.dtype for each in jax.tree.leaves(found)} == {jnp.dtype(jnp.bfloat16)}
