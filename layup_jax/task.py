"""What is trained, whatever the algorithm: model, loss, optimizer, and what to evaluate on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import optax

from layup_jax.losses import accuracy
from layup_jax.models.layers import LayeredModel
from layup_jax.types import Array, PyTree


class Task(NamedTuple):
    """What is trained, whatever the algorithm.

    Attributes:
      model: the layers.
      loss: (outputs of the last layer, batch) -> scalar.
      optimizer: any optax transformation; applied to each segment by itself.
      test: record with `inputs` and `labels` to evaluate on; None evaluates nothing.
      metric: (outputs, batch) -> scalar mean over samples, higher is better.
      learning_rate: of the optimizer, for algorithms that have to know it (slowmo, if it changes).
    """

    model: LayeredModel
    loss: Callable[[Any, Any], Array]
    optimizer: optax.GradientTransformation
    test: PyTree | None = None
    metric: Callable[[Any, Any], Array] = accuracy
    learning_rate: optax.ScalarOrSchedule = 1.0
