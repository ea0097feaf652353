"""Initializers: their moments, that one key draws one value, that equal ones compare equal."""

import jax
import numpy as np
import pytest

from layup_jax.models.initializers import (
    LECUN_NORMAL,
    LECUN_NORMAL_OUTPUTS,
    ORTHOGONAL,
    SMALL_NORMAL,
    ScaledNormal,
)

KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("initializer", "deviation"),
    [(LECUN_NORMAL, 1 / 10), (LECUN_NORMAL_OUTPUTS, 1 / 20), (SMALL_NORMAL, 0.02)],
)
@pytest.mark.parametrize("traced", [False, True])
def test_numbers_are_normal_with_the_deviation_they_say(initializer, deviation, traced):
    draw = jax.jit(initializer, static_argnums=1) if traced else initializer
    values = draw(KEY, (100, 400))
    np.testing.assert_allclose(np.std(values), deviation, rtol=0.02)  # 40,000 samples
    np.testing.assert_allclose(np.mean(values), 0, atol=0.02 * deviation)


@pytest.mark.parametrize("shape", [(4, 16), (16, 4), (5, 5)])
@pytest.mark.parametrize("traced", [False, True])
def test_the_fewer_of_rows_and_columns_are_orthonormal(shape, traced):
    draw = jax.jit(ORTHOGONAL, static_argnums=1) if traced else ORTHOGONAL
    values = np.asarray(draw(KEY, shape))
    assert values.shape == shape
    products = values @ values.T if shape[0] < shape[1] else values.T @ values
    np.testing.assert_allclose(products, np.eye(min(shape)), atol=1e-6)


@pytest.mark.parametrize("initializer", [LECUN_NORMAL, SMALL_NORMAL, ORTHOGONAL])
def test_a_key_draws_the_same_again_and_another_key_something_else(initializer):
    first = initializer(KEY, (3, 4))
    np.testing.assert_array_equal(first, initializer(KEY, (3, 4)))
    assert np.all(first != initializer(jax.random.key(1), (3, 4)))


def test_equality_is_by_value():
    assert ScaledNormal(1.0) == LECUN_NORMAL
    assert hash(ScaledNormal(1.0)) == hash(LECUN_NORMAL)
    assert ScaledNormal(1.0, "none") != LECUN_NORMAL
