"""A multilayer perceptron: equal hidden layers, so that all of them share one compilation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from flax import nnx

from layup_jax.models.dropout import dropout_layer
from layup_jax.models.initializers import HE_NORMAL, LECUN_NORMAL
from layup_jax.models.layers import LayeredModel
from layup_jax.types import Array


class Dense(nnx.Module):
    """Linear map, ReLU and optional dropout, on flattened inputs."""

    def __init__(self, num_inputs: int, num_outputs: int, *, dropout: float, rngs: nnx.Rngs):
        """Sizes are numbers of features; `dropout` is the rate, 0 for none."""
        self.linear = nnx.Linear(num_inputs, num_outputs, kernel_init=HE_NORMAL, rngs=rngs)
        self.dropout = dropout_layer(dropout, rngs)

    def __call__(self, inputs: Array) -> Array:
        """(batch, ...) -> (batch, outputs)."""
        outputs = nnx.relu(self.linear(inputs.reshape(inputs.shape[0], -1)))
        return outputs if self.dropout is None else self.dropout(outputs)


class Logits(nnx.Module):
    """Linear map of flattened inputs."""

    def __init__(self, num_inputs: int, num_classes: int, *, rngs: nnx.Rngs):
        """Sizes are numbers of features."""
        self.linear = nnx.Linear(num_inputs, num_classes, kernel_init=LECUN_NORMAL, rngs=rngs)

    def __call__(self, inputs: Array) -> Array:
        """(batch, ...) -> (batch, classes)."""
        return self.linear(inputs.reshape(inputs.shape[0], -1))


def mlp(
    input_shape: Sequence[int],
    num_classes: int,
    *,
    width: int = 512,
    depth: int = 12,
    dropout: float = 0.0,
    seed: int = 0,
) -> LayeredModel:
    """A multilayer perceptron: equal hidden layers, so that all of them share one compilation.

    There are `depth` linear layers, the last of which gives the logits.

    Args:
      input_shape: of one sample; flattened.
      num_classes: number of logits.
      width: features of a hidden layer.
      depth: number of linear layers, at least 1.
      dropout: rate after each hidden layer.
      seed: seed of the initial parameters.

    Returns:
      A model from (batch, ...) float inputs to (batch, num_classes) logits.
    """
    rngs = nnx.Rngs(seed)
    sizes = [math.prod(input_shape)] + [width] * (depth - 1)
    hidden = [
        Dense(before, after, dropout=dropout, rngs=rngs)
        for before, after in itertools.pairwise(sizes)
    ]
    return LayeredModel([*hidden, Logits(sizes[-1], num_classes, rngs=rngs)])
