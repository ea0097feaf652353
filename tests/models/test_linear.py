"""Linear: nnx.Linear's values and parameters; its gradient sums over one axis."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from layup_jax.models.linear import Linear


def _pair():
    return [kind(3, 5, rngs=nnx.Rngs(0), param_dtype=jnp.float64) for kind in (Linear, nnx.Linear)]


def _gradient(module, inputs):
    graph, params = nnx.split(module)
    return jax.grad(lambda params: jnp.sum(nnx.merge(graph, params)(inputs) ** 2))(params)


def test_values_and_gradients_are_those_of_nnx(double):
    ours, theirs = _pair()
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
