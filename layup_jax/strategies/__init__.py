"""Algorithms by name. The registry is the only place that knows which ones there are."""

from __future__ import annotations

import optax

from layup_jax.config import StrategyConfig
from layup_jax.strategies.a2cid2 import A2CiD2
from layup_jax.strategies.base import OptaxStrategy, Strategy
from layup_jax.strategies.layup import LayUpOptions, layup
from layup_jax.strategies.local import Local
from layup_jax.topology import make_topology


def _layup(config: StrategyConfig, optimizer: optax.GradientTransformation, size: int):
    options = LayUpOptions(config.mixing, config.peer_per, config.probability)
    return layup(optimizer, make_topology(config.topology, size), options)


def _a2cid2(config: StrategyConfig, optimizer: optax.GradientTransformation, size: int):
    return A2CiD2(optimizer, make_topology(config.topology, size), config.rate)


def _local(config: StrategyConfig, optimizer: optax.GradientTransformation, size: int):
    del size
    return Local(optimizer, config.name)


STRATEGIES = {"a2cid2": _a2cid2, "fused": _local, "layup": _layup, "local": _local}
FORCED_PARTITIONS = {"fused": "model"}


def make_strategy(
    config: StrategyConfig, optimizer: optax.GradientTransformation, size: int
) -> Strategy:
    """The configured algorithm for `size` workers; the same object may serve all of them."""
    return STRATEGIES[config.name](config, optimizer, size)


def exchanges(config: StrategyConfig) -> bool:
    """Whether the configured algorithm swaps segments between pairs of workers."""
    return config.name == "a2cid2" or (config.name == "layup" and config.mixing == "pairwise")


__all__ = [
    "FORCED_PARTITIONS",
    "STRATEGIES",
    "A2CiD2",
    "LayUpOptions",
    "Local",
    "OptaxStrategy",
    "Strategy",
    "exchanges",
    "layup",
    "make_strategy",
]
