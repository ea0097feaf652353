"""A linear map of the last axis whose gradient is about as fast as its forward pass.

    Linear(3, 5, rngs=rngs)(inputs)          # as nnx.Linear, whatever the leading axes
    by_rows(lambda rows: rows @ matrix, inputs)

The gradient of a matrix is a sum over all leading axes. Over more than one of them XLA on CPUs transposes
an operand and then multiplies up to three times more slowly; so they are made one before.

What a matrix product reads lies in memory anyway, and its gradient needs it: `kept` says so to the
engine, which makes other elementwise results again (`layup_jax.engine.recompute`).
"""

from __future__ import annotations

from collections.abc import Callable

from flax import nnx
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
    """As nnx.Linear, its parameters included; it takes no sharding of what it returns."""

    def __call__(self, inputs: Array) -> Array:  # pyright: ignore[reportIncompatibleMethodOverride]
        """(..., inputs) -> (..., outputs)."""
        return by_rows(super().__call__, inputs)
