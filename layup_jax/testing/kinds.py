"""What may be demanded of a strategy follows from what it says of itself.

it asks for                            without gradients               with them
pushes, exchanges, neighbours          the weighted sum is kept        so is all that they added
averages, with nothing in `mixing`     the sum is kept
averages, with a state of their own    equal workers stay put
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from layup_jax.strategies import Strategy
from layup_jax.testing.network import Network, starting_points
from layup_jax.types import AllReduce, Exchange, Push

WORKERS = 4
Make = Callable[[optax.GradientTransformation, int], Strategy]


def passes_messages(strategy: Strategy) -> bool:
    """Whether it sends to some workers, rather than averaging over all or not at all."""
    return strategy.asks not in (None, AllReduce)


def gossips(strategy: Strategy) -> bool:
    """Whether its messages may come at any time."""
    return strategy.asks in (Push, Exchange)


def only_averages(strategy: Strategy) -> bool:
    """Whether a sum over workers must be kept from any start."""
    if strategy.asks is AllReduce:
        return not jax.tree.leaves(strategy.init(jnp.zeros(3), ()).mixing)
    return strategy.asks is not None


def make_network(strategy: Strategy, num_workers: int = WORKERS, *, held: int = 0) -> Network:
    """Workers as far apart as the method allows; where averages are carried over, all start equal."""
    equal = strategy.asks is AllReduce and not only_averages(strategy)
    return Network(strategy, starting_points(num_workers, equal=equal), held=held)
