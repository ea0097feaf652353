"""A linear map of the last axis whose gradient is about as fast as its forward pass.

    Linear(3, 5, rngs=rngs)(inputs)          # as nnx.Linear, whatever the leading axes
    by_rows(lambda rows: rows @ matrix, inputs)

The gradient of a matrix is a sum over all leading axes. Over more than one of them XLA on CPUs transposes
an operand and then multiplies up to three times more slowly; so they are made one before.
"""

from __future__ import annotations

from collections.abc import Callable

from flax import nnx

from layup_jax.types import Array


def by_rows(function: Callable[[Array], Array], inputs: Array) -> Array:
    """A function from (rows, features) to (rows, others), of inputs (..., features)."""
    outputs = function(inputs.reshape(-1, inputs.shape[-1]))
    return outputs.reshape(*inputs.shape[:-1], outputs.shape[-1])


class Linear(nnx.Linear):
    """As nnx.Linear, its parameters included; it takes no sharding of what it returns."""

    def __call__(self, inputs: Array) -> Array:  # pyright: ignore[reportIncompatibleMethodOverride]
        """(..., inputs) -> (..., outputs)."""
        return by_rows(super().__call__, inputs)
