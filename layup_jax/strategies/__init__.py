"""Algorithms by name. The registry is the only place that knows which ones there are."""

from __future__ import annotations

import optax

from layup_jax.config import StrategyConfig
from layup_jax.strategies.base import OptaxStrategy, Strategy
from layup_jax.strategies.layup import LayUpOptions, layup
from layup_jax.strategies.local import Local
from layup_jax.topology import TOPOLOGIES


def _layup(config: StrategyConfig, optimizer: optax.GradientTransformation, size: int):
    options = LayUpOptions(config.mixing, config.peer_per, config.probability)
    return layup(optimizer, TOPOLOGIES[config.topology](size), options)


def _local(config: StrategyConfig, optimizer: optax.GradientTransformation, size: int):
    del size
    return Local(optimizer, config.name)


STRATEGIES = {"layup": _layup, "local": _local, "fused": _local}
FORCED_PARTITIONS = {"fused": "model"}


def make_strategy(
    config: StrategyConfig, optimizer: optax.GradientTransformation, size: int
) -> Strategy:
    """The configured algorithm for `size` workers; the same object may serve all of them."""
    return STRATEGIES[config.name](config, optimizer, size)


__all__ = [
    "FORCED_PARTITIONS",
    "STRATEGIES",
    "LayUpOptions",
    "Local",
    "OptaxStrategy",
    "Strategy",
    "layup",
    "make_strategy",
]
