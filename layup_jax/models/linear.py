"""A linear map of the last axis whose gradient is about as fast as its forward pass.

    Linear(3, 5, rngs=rngs)(inputs)          # as nnx.Linear, whatever the leading axes
    by_rows(lambda rows: rows @ matrix, inputs)

The gradient of a matrix is a sum over all leading axes. Over more than one of them XLA on CPUs transposes
an operand and then multiplies up to three times more slowly; so they are made one before. And where a
matrix has more inputs than outputs, its gradient comes faster with outputs before inputs.

What a matrix product reads lies in memory anyway, and its gradient needs it: `kept` says so to the
engine, which makes other elementwise results again (`layup_jax.engine.recompute`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from flax import nnx
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from layup_jax.types import Array


def kept(values: Array) -> Array:
    """The same, worth its memory until the backward pass; to policies of jax.checkpoint it is "kept"."""
    return checkpoint_name(values, "kept")


def by_rows(function: Callable[[Array], Array], inputs: Array) -> Array:
    """A function from (rows, features) to (rows, others), of inputs (..., features)."""
    if inputs.ndim == 2:
        return function(inputs)
    outputs = function(kept(inputs.reshape(-1, inputs.shape[-1])))
    return outputs.reshape(*inputs.shape[:-1], outputs.shape[-1])


class Linear(nnx.Linear):
    """As nnx.Linear, its parameters included.

    It takes no sharding of what it returns, and no forward-mode differentiation (jax.jvp).
    """

    def __init__(self, in_features: int, out_features: int, **options: Any):
        """As nnx.Linear, without `dot_general`."""
        super().__init__(in_features, out_features, dot_general=_dot_general, **options)

    def __call__(self, inputs: Array) -> Array:  # pyright: ignore[reportIncompatibleMethodOverride]
        """(..., inputs) -> (..., outputs)."""
        return by_rows(super().__call__, inputs)


def _dot_general(rows: Array, matrix: Array, dimension_numbers: Any, **options: Any) -> Array:
    """As lax.dot_general, of two matrices."""
    product = partial(lax.dot_general, dimension_numbers=dimension_numbers, **options)
    is_tall = matrix.shape[0] > matrix.shape[1]
    return _tall_product(product, rows, matrix) if is_tall else product(rows, matrix)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _tall_product(product: Callable[..., Array], rows: Array, matrix: Array) -> Array:
    """A product whose gradient for the matrix is made transposed."""
    return product(rows, matrix)


def _tall_forward(
    product: Callable[..., Array], rows: Array, matrix: Array
) -> tuple[Array, tuple[Array, Array]]:
    return product(rows, matrix), (rows, matrix)


def _tall_backward(
    product: Callable[..., Array], factors: tuple[Array, Array], cotangent: Array
) -> tuple[Array, Array]:
    rows, matrix = factors
    turned = lax.optimization_barrier(product(cotangent.T, rows))  # or XLA turns the product itself
    return product(cotangent, matrix.T).astype(rows.dtype), turned.T.astype(matrix.dtype)


_tall_product.defvjp(_tall_forward, _tall_backward)
