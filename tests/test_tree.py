"""Pytrees as vectors and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layup_jax.tree import (
    all_finite,
    decode,
    decode_narrow,
    encode,
    encode_narrow,
    num_bytes,
    num_parameters,
    num_words,
    wire_dtype,
)

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


def _narrow(tree):
    """There and back as in a run, where XLA sees both."""
    return jax.jit(lambda each: decode_narrow(encode_narrow(each), each))(tree)


@settings(max_examples=15)
@given(_trees([jnp.bfloat16]))
def test_narrow_is_exact_for_what_bfloat16_has_and_for_scalars(tree):
    tree = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), tree)
    tree["scalar"] = np.float32(1 / 3)
    words = encode_narrow(tree)
    assert (words.shape, words.dtype) == ((num_words(tree),), np.uint16)
    _assert_equal(decode_narrow(words, tree), tree)


@given(st.lists(st.floats(2.0**-126, 2.0**127, width=32), min_size=9, max_size=9), st.booleans())
def test_narrow_arrays_are_off_by_at_most_2_to_the_minus_8(values, negative):
    array = (-1.0 if negative else 1.0) * np.array(values, np.float32)
    np.testing.assert_allclose(_narrow(array), array, rtol=2.0**-8, atol=0)


def test_narrow_keeps_what_is_not_finite():
    array = np.array([np.inf, -np.inf, np.nan, -0.0], np.float32)
    np.testing.assert_array_equal(_narrow(array), array)
    assert np.signbit(_narrow(array)[3])


def test_narrow_float64_loses_no_more(double):
    tree = {"a": jnp.array([1 / 3, 2 / 7]), "b": jnp.float32(1 / 3)}
    after = _narrow(tree)
    assert jax.tree.map(jnp.result_type, after) == jax.tree.map(jnp.result_type, tree)
    np.testing.assert_allclose(after["a"], tree["a"], rtol=2.0**-8)
    assert after["b"] == tree["b"]


def test_sizes():
    tree = {"a": jnp.zeros((2, 3)), "b": jnp.zeros((), jnp.bfloat16), "c": ()}
    assert (num_parameters(tree), num_bytes(tree)) == (7, 26)
    assert (num_parameters(()), num_bytes(())) == (0, 0)


@pytest.mark.parametrize(("value", "finite"), [(0.0, True), (np.inf, False), (np.nan, False)])
def test_finiteness_is_of_every_inexact_leaf(value, finite):
    tree = {"a": jnp.arange(3), "b": jnp.zeros(2).at[1].set(value), "c": ()}
    assert all_finite(tree) is finite
