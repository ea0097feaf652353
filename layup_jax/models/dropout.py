"""Dropout as the builders of models take it: a rate, 0 for none."""

from __future__ import annotations

from flax import nnx

from layup_jax.errors import ConfigError


def dropout_layer(rate: float, rngs: nnx.Rngs) -> nnx.Dropout | None:
    """The layer, None for a rate of 0, so that nothing is then drawn.

    Raises:
      ConfigError: a rate outside [0, 1).
    """
    if not 0 <= rate < 1:
        raise ConfigError(f"the dropout of a model must be in [0, 1), got {rate}; change it")
    return nnx.Dropout(rate, rngs=rngs) if rate else None
