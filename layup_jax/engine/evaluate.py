"""Evaluation of whole models: loss and accuracy on a data set, and the mean over workers.

evaluator = Evaluator(engine.segments, loss, metric)
evaluator(states, batch)                                   # Evaluation(loss, metric)
vector = contribution(states, weights)                     # summed over workers elsewhere
mean = mean_model(total, states)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from layup_jax.engine.numerics import PLAIN, Numerics
from layup_jax.engine.program import LossFunction
from layup_jax.errors import LayupError, ModelError
from layup_jax.models.check import cause_of, check_scalar
from layup_jax.models.layers import Segment
from layup_jax.models.loans import Loans
from layup_jax.optimizers import evaluated
from layup_jax.tree import decode, encode, num_parameters
from layup_jax.types import Array, PyTree, SegmentState

_CHUNK = 256  # samples
_CHUNK_LABELS = 8192  # where each sample has several, as texts do


class Evaluation(NamedTuple):
    """Means over the samples of a data set."""

    loss: float
    metric: float


class Model(NamedTuple):
    """What is needed to run a model: for every segment, its params and its model state."""

    params: tuple[PyTree, ...]
    model_states: tuple[PyTree, ...]


def model_of(states: Sequence[SegmentState]) -> Model:
    """What is evaluated, out of the states of all segments: the average of parameters, if one is kept."""
    return Model(
        tuple(evaluated(state.params, state.opt_state) for state in states),
        tuple(state.model_state for state in states),
    )


class Evaluator:
    """Runs a model in evaluation mode: running statistics, no dropout.

    Threads: any; compiled at first use, for a chunk of samples and for the remainder.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        loss: LossFunction,
        metric: LossFunction,
        numerics: Numerics = PLAIN,
    ):
        """Takes the segments, two functions (outputs, batch) -> scalar mean, and the precision."""
        self._numerics = numerics
        self._segments = tuple(segments)
        self._loans = Loans(self._segments)
        self._functions = (loss, metric)
        self._measure = jax.jit(self._pure_measure)

    def __call__(self, model: Model, data: PyTree) -> Evaluation:
        """Evaluates on a whole data set.

        Args:
          model: as `model_of` returns it.
          data: a record with `inputs`, every leaf with the samples as first axis.
        """
        count = jax.tree.leaves(data)[0].shape[0]
        chunk = _chunk(data)
        sums = np.zeros(2)
        for start in range(0, count, chunk):
            found = self._measure(model, _part(data, start, chunk))
            sums += np.array(found) * min(chunk, count - start)
        return Evaluation(*(sums / count).tolist())

    def check(self, model: Model, data: PyTree) -> None:
        """Whether model, loss and metric take such data; found out without computing.

        Args:
          model: as `model_of` returns it.
          data: as of a call.

        Raises:
          ModelError: they do not, or one of the two functions returns no scalar. Their own LayupError,
            as of labels of a wrong shape, is passed on.
        """
        part = _part(data, 0, _chunk(data))
        try:
            found = self._measure.eval_shape(model, part)
        except LayupError:
            raise
        except Exception as error:
            raise ModelError(
                f"model, loss and metric must take the test data, got '{cause_of(error)}'; make them "
                "like those that are trained on"
            ) from error
        for name, each in zip(("loss", "metric"), found, strict=True):
            check_scalar(name, each)

    def _pure_measure(self, model: Model, batch: PyTree) -> tuple[Array, Array]:
        outputs = batch.inputs
        for index, (params, state) in enumerate(zip(*model, strict=True)):
            inputs, loans = self._loans.taken(index, outputs)
            given = self._numerics.cast((params, inputs))
            outputs, _ = self._segments[index].apply(given[0], state, given[1], training=False)
            outputs = self._loans.onward(index, outputs, params, loans)
        outputs = self._numerics.uncast(outputs)
        loss, metric = (function(outputs, batch) for function in self._functions)
        return loss, metric


def _part(data: PyTree, start: int, count: int) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[start : start + count], data)


def _chunk(data: PyTree) -> int:
    """So many samples that their outputs fit into memory."""
    labels = getattr(data, "labels", None)
    each = 1 if labels is None or labels.ndim < 2 else int(np.prod(labels.shape[1:]))
    return max(1, min(_CHUNK, _CHUNK_LABELS // each))


@jax.jit
def contribution(model: Model, weights: Sequence[Array]) -> Array:
    """What one worker adds to the sum of which `mean_model` makes the weighted mean.

    Args:
      model: this worker's.
      weights: one scalar for each segment.

    Returns:
      float vector: for each segment its weighted params and model state, and all weights at the end.
    """
    parts = [
        weight * encode(arrays)
        for weight, arrays in zip(weights, zip(*model, strict=True), strict=True)
    ]
    return jnp.concatenate([*parts, jnp.stack([jnp.asarray(weight) for weight in weights])])


def contribution_size(model: Model) -> int:
    """Length of this model's `contribution`."""
    return num_parameters(model) + len(model.params)


@jax.jit
def mean_model(total: Array, like: Model) -> tuple[Model, Array]:
    """The weighted mean over workers.

    Args:
      total: the sum over workers of their contributions.
      like: a model of the same shape.

    Returns:
      (mean, sum of weights of each segment).
    """
    count = len(like.params)
    weights = total[-count:]
    segments, start = [], 0
    for index, arrays in enumerate(zip(*like, strict=True)):
        size = num_parameters(arrays)
        vector = total[start : start + size] / weights[index]
        segments.append(decode(vector, arrays))
        start += size
    params, model_states = zip(*segments, strict=True)
    return Model(params, model_states), weights


@jax.jit
def consensus_distance(model: Model, mean: Model) -> Array:
    """L2 norm of the difference of two models' parameters: a worker's distance to the mean model."""
    squares = jax.tree.map(lambda a, b: jnp.sum(jnp.square(a - b)), model.params, mean.params)
    return jnp.sqrt(sum(jax.tree.leaves(squares), start=jnp.zeros(())))
