"""What a forward pass does not keep because the backward pass makes it again for less.

An elementwise operation costs less than writing its result to memory and reading it back, and inside the
backward call it fuses into whatever uses it. So a segment keeps the results of matrix products,
convolutions, reductions, transcendental functions and random numbers, and makes the cheap ones again.

    run = without_cheap_residuals(run)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax

F = TypeVar("F", bound=Callable[..., Any])

CHEAP = frozenset(
    """abs add and broadcast_in_dim convert_element_type copy div eq expand_dims ge gt integer_pow
    is_finite le lt max min mul ne neg not or reshape rsqrt select_n sign sqrt square squeeze
    stop_gradient sub transpose""".split()  # noqa: SIM905  # a word list reads better
)


def without_cheap_residuals(function: F) -> F:
    """The same function, whose VJP closure keeps no result of an operation in `CHEAP`."""

    def is_kept(primitive: Any, *_: Any, **__: Any) -> bool:
        return primitive.name not in CHEAP

    # Forward and backward are compiled apart, so there is nothing to protect from common
    # subexpression elimination.
    return jax.checkpoint(function, policy=is_kept, prevent_cse=False)  # pyright: ignore
