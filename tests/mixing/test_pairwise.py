"""Pairwise averaging on what was sent; what both rules share is in conformance."""

import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from layup_jax.mixing import pairwise

numbers = st.integers(-1000, 1000).map(float)


def test_without_updates_both_sides_get_the_mean():
    x, y = {"a": jnp.array([1.0, 2.0])}, {"a": jnp.array([3.0, -6.0])}
    np.testing.assert_array_equal(pairwise.merge(x, x, y)["a"], [2.0, -2.0])
    np.testing.assert_array_equal(pairwise.merge(y, y, x)["a"], [2.0, -2.0])


@given(numbers, numbers, numbers, numbers)
def test_the_sum_changes_by_the_updates_made_meanwhile(x, y, step_x, step_y):
    """Integers and their halves are exact in float32, so this holds to the last bit."""
    arrays = [jnp.float32(each) for each in (x, y)]
    after_x = pairwise.merge(arrays[0] + step_x, arrays[0], arrays[1])
    after_y = pairwise.merge(arrays[1] + step_y, arrays[1], arrays[0])
    assert float(after_x) + float(after_y) == x + y + step_x + step_y
    assert float(after_x) == (x + y) / 2 + step_x
