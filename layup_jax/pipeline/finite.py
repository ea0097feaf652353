"""The check that stops a run at the first loss that is not a number, and says where it came from."""

from __future__ import annotations

import math
from collections.abc import Sequence

from layup_jax.engine.engine import Engine
from layup_jax.errors import NonFiniteError
from layup_jax.tree import all_finite
from layup_jax.types import Array, PyTree


def is_known(loss: Array) -> bool:
    """Whether asking for the value waits for nothing."""
    return loss.is_ready()  # pyright: ignore[reportAttributeAccessIssue]  # jax.Array has it


def require_finite(loss: Array, step: int, engine: Engine, values: Sequence[PyTree]) -> None:
    """Refuses a loss that is not finite.

    Args:
      loss: scalar.
      step: that it is of.
      engine: names the segments.
      values: by segment, outputs of that step, or parameters; the first that is not finite is blamed,
        the last segment if all are.

    Raises:
      NonFiniteError: with the step, the segment and a remedy.
    """
    if math.isfinite(float(loss)):
        return
    broken = [index for index, tree in enumerate(values) if not all_finite(tree)]
    first = broken[0] if broken else len(engine) - 1
    raise NonFiniteError(
        f"the loss must be finite, got {float(loss)} at step {step}, first "
        f"non-finite in segment {first} ({engine.segments[first].name}); lower the learning rate, "
        "clip gradients, or look at that step's inputs and labels"
    )
