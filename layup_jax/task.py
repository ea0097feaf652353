"""What is trained, whatever the algorithm: model, loss, optimizer, and what to evaluate on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from layup_jax.errors import ConfigError
from layup_jax.losses import accuracy
from layup_jax.models.check import check_model
from layup_jax.models.layers import LayeredModel
from layup_jax.types import Array, PyTree


class Task(NamedTuple):
    """What is trained, whatever the algorithm.

    Attributes:
      model: the layers.
      loss: (outputs of the last layer, batch) -> scalar.
      optimizer: any optax transformation that needs no more than gradients and parameters; applied to
        each segment by itself.
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


def check_task(task: Task, batch: PyTree) -> None:
    """Whether layers, loss and data fit each other, and there is a record to evaluate on, or None.

    Args:
      task: the task.
      batch: a record with `inputs`, as in training.

    Raises:
      ModelError: see `check_model`.
      ConfigError: no Task, or the batch or `test` is no such record.
    """
    if not isinstance(task, Task):
        raise ConfigError(
            f"what is trained must be a Task, got {type(task).__name__}; pass "
            "layup_jax.Task(model, loss, optimizer)"
        )
    if not hasattr(batch, "inputs"):
        raise ConfigError(
            f"a batch must be a record with inputs, got {type(batch).__name__}; yield "
            "layup_jax.Batch(inputs, labels)"
        )
    check_model(task.model, task.loss, batch)
    if task.test is not None:
        _check_test(task.test)


def _check_test(test: PyTree) -> None:
    if not hasattr(test, "inputs"):
        raise ConfigError(
            f"a task's test must be a record of inputs and labels, got {type(test).__name__}; "
            "pass layup_jax.Batch(inputs, labels)"
        )
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(test)]
    counts = {shape[0] if shape else 0 for shape in shapes}
    if len(counts) != 1 or 0 in counts:
        raise ConfigError(
            "a task's test must have arrays with the samples as first axis, as many in each, got "
            f"shapes {', '.join(map(str, shapes[:4]))}; pass layup_jax.Batch(inputs, labels)"
        )
