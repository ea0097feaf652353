"""Pytrees as vectors and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layup_jax.tree import all_finite, decode, encode, num_bytes, num_parameters, wire_dtype

shapes = st.lists(st.lists(st.integers(0, 3), max_size=3).map(tuple), max_size=4)


def _trees(dtypes):
    def build(shapes, seed):
        rng = np.random.default_rng(seed)
        pool = [np.dtype(dtype) for dtype in dtypes]
        leaves = [
            np.asarray(rng.normal(size=shape)).astype(pool[i % len(pool)])
            for i, shape in enumerate(shapes)
        ]
        return {"list": leaves, "nested": ({"empty": ()}, leaves[:1])}

    return st.builds(build, shapes, st.integers(0, 99))


def _assert_equal(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    assert jax.tree.map(jnp.result_type, left) == jax.tree.map(jnp.result_type, right)
    jax.tree.map(np.testing.assert_array_equal, left, right)


@settings(max_examples=15)  # every new shape is a compilation
@given(_trees([np.float32]))
def test_decode_is_the_inverse_of_encode(tree):
    vector = encode(tree)
    assert vector.shape == (num_parameters(tree),)
    _assert_equal(decode(vector, tree), tree)
    _assert_equal(decode(vector, jax.eval_shape(lambda: tree)), tree)


@settings(max_examples=15)
@given(_trees([np.float32, jnp.bfloat16, np.float16, np.int8]))
def test_narrow_types_survive_the_wire(tree):
    assert wire_dtype(tree) == np.float32
    _assert_equal(decode(encode(tree), tree), tree)


def test_float64_is_exact(double):
    tree = {"a": jnp.array([1 / 3, 2 / 7]), "b": jnp.ones((2, 1), jnp.float32)}
    assert tree["a"].dtype == wire_dtype(tree) == np.float64
    _assert_equal(decode(encode(tree), tree), tree)


def test_sizes():
    tree = {"a": jnp.zeros((2, 3)), "b": jnp.zeros((), jnp.bfloat16), "c": ()}
    assert (num_parameters(tree), num_bytes(tree)) == (7, 26)
    assert (num_parameters(()), num_bytes(())) == (0, 0)


@pytest.mark.parametrize(("value", "finite"), [(0.0, True), (np.inf, False), (np.nan, False)])
def test_finiteness_is_of_every_inexact_leaf(value, finite):
    tree = {"a": jnp.arange(3), "b": jnp.zeros(2).at[1].set(value), "c": ()}
    assert all_finite(tree) is finite
