"""Algorithms: pure functions on one segment, and what they ask to be communicated."""

from layup_jax.strategies.base import OptaxStrategy, Strategy
from layup_jax.strategies.layup import LayUpOptions, layup
from layup_jax.strategies.local import Local
from layup_jax.strategies.registry import (
    STRATEGIES,
    Method,
    Setup,
    advice,
    asks,
    make_strategy,
)

__all__ = [
    "STRATEGIES",
    "LayUpOptions",
    "Local",
    "Method",
    "OptaxStrategy",
    "Setup",
    "Strategy",
    "advice",
    "asks",
    "layup",
    "make_strategy",
]
