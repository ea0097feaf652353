"""A bidirectional LSTM that classifies padded token sequences.

model = lstm((200,), 2)                # 4 layers, 2,757,890 parameters

tokens -> TokenEmbedding -> BidirectionalLSTM -> BidirectionalLSTM -> SequenceClassifier

Token 0 is padding. What flows between the layers is (features, mask).
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from layup_jax.models.initializers import LECUN_NORMAL, LECUN_NORMAL_OUTPUTS, ORTHOGONAL
from layup_jax.models.layers import LayeredModel
from layup_jax.models.options import check_sizes, length_of
from layup_jax.types import Array


class TokenEmbedding(nnx.Module):
    """A vector for each token of the vocabulary, and which positions are not padding."""

    def __init__(self, vocabulary: int, width: int, *, rngs: nnx.Rngs):
        """Sizes are numbers of tokens and of features."""
        self.table = nnx.Embed(vocabulary, width, embedding_init=LECUN_NORMAL_OUTPUTS, rngs=rngs)

    def __call__(self, tokens: Array) -> tuple[Array, Array]:
        """(batch, time) integers -> (batch, time, features), and the mask, (batch, time) booleans."""
        return self.table(tokens), tokens != 0


def _forget_bias(key: Array, shape: Sequence[int], dtype: jnp.dtype) -> Array:
    """Ones for the forget gates, which are the second quarter, zeros for all others."""
    del key
    quarter = shape[0] // 4
    return jnp.zeros(shape, dtype).at[quarter : 2 * quarter].set(1)


class LSTM(nnx.Module):
    """Long short-term memory in one direction, whose state stays as it is at masked positions.

    i, f, g, o = W x_t + U h_{t-1} + b
    c_t = sigmoid(f) * c_{t-1} + sigmoid(i) * tanh(g)
    h_t = sigmoid(o) * tanh(c_t)

    W and b are `inputs`, U is `recurrent`. In reverse, t - 1 is the position after t.
    """

    def __init__(self, num_inputs: int, units: int, *, reverse: bool, rngs: nnx.Rngs):
        """Sizes are numbers of features."""
        self.inputs = nnx.Linear(
            num_inputs, 4 * units, kernel_init=LECUN_NORMAL, bias_init=_forget_bias, rngs=rngs
        )
        self.recurrent = nnx.Param(ORTHOGONAL(rngs.params(), (units, 4 * units)))
        self.reverse = reverse

    def __call__(self, features: Array, mask: Array) -> Array:
        """(batch, time, inputs) and (batch, time) -> h of all positions, (batch, time, units)."""
        inputs = self.inputs(jnp.swapaxes(features, 0, 1))
        recurrent = self.recurrent[...]
        start = jnp.zeros((features.shape[0], recurrent.shape[0]), inputs.dtype)

        def step(state: tuple[Array, Array], now: tuple[Array, Array]):
            state = _next_state(recurrent, state, now)
            return state, state[1]

        _, outputs = jax.lax.scan(step, (start, start), (inputs, mask.T), reverse=self.reverse)
        return jnp.swapaxes(outputs, 0, 1)


def _next_state(
    recurrent: Array, state: tuple[Array, Array], now: tuple[Array, Array]
) -> tuple[Array, Array]:
    """(c, h) after one position, which is given as (W x + b, mask)."""
    (cell, hidden), (inputs, mask) = state, now
    i, f, g, o = jnp.split(inputs + hidden @ recurrent, 4, axis=-1)
    new_cell = nnx.sigmoid(f) * cell + nnx.sigmoid(i) * jnp.tanh(g)
    new_hidden = nnx.sigmoid(o) * jnp.tanh(new_cell)
    return jnp.where(mask[:, None], new_cell, cell), jnp.where(mask[:, None], new_hidden, hidden)


class BidirectionalLSTM(nnx.Module):
    """One LSTM from the first to the last position, another from the last to the first."""

    def __init__(self, num_inputs: int, units: int, *, rngs: nnx.Rngs):
        """Sizes are numbers of features; `units` are those of each direction."""
        self.forward = LSTM(num_inputs, units, reverse=False, rngs=rngs)
        self.backward = LSTM(num_inputs, units, reverse=True, rngs=rngs)

    def __call__(self, sequence: tuple[Array, Array]) -> tuple[Array, Array]:
        """((batch, time, inputs), mask) -> ((batch, time, 2 units), mask), forward before backward."""
        features, mask = sequence
        directions = [self.forward(features, mask), self.backward(features, mask)]
        return jnp.concatenate(directions, axis=-1), mask


class SequenceClassifier(nnx.Module):
    """Linear map of the last states of both directions.

    These are at the last position forward and at the first position backward, whether or not there is
    padding, because padding leaves a state as it is. So all layers before this one can be equal.
    """

    def __init__(self, units: int, num_classes: int, *, rngs: nnx.Rngs):
        """Sizes are numbers of features; `units` are those of each direction."""
        self.units = units
        self.linear = nnx.Linear(2 * units, num_classes, kernel_init=LECUN_NORMAL, rngs=rngs)

    def __call__(self, sequence: tuple[Array, Array]) -> Array:
        """((batch, time, 2 units), mask) -> (batch, classes)."""
        features, _ = sequence
        ends = [features[:, -1, : self.units], features[:, 0, self.units :]]
        return self.linear(jnp.concatenate(ends, axis=-1))


def lstm(
    input_shape: Sequence[int],
    num_classes: int,
    *,
    vocabulary: int = 20_000,
    width: int = 128,
    units: int = 64,
    depth: int = 2,
    seed: int = 0,
) -> LayeredModel:
    """A bidirectional LSTM for padded token sequences, such as the reviews of IMDb.

    Args:
      input_shape: (time,), the padded length of a sequence; the parameters do not depend on it.
      num_classes: number of logits.
      vocabulary: number of tokens, padding included; larger tokens give NaN.
      width: features of a token. With twice `units` all recurrent layers share one compilation.
      units: features of each direction.
      depth: number of recurrent layers.
      seed: seed of the initial parameters.

    Returns:
      A model from (batch, time) integers to (batch, num_classes) logits. Token 0 is skipped wherever it
      stands, so padding before or after a text changes nothing.

    Raises:
      ConfigError: sequences of more than one dimension, or an option out of range.

    References:
      The network, and its number of parameters with one logit: "Bidirectional LSTM on IMDB" among the
      examples of Keras. Differs from it: padding is masked, and kernels of inputs start normal with
      variance 1 / inputs. Equations as Zaremba et al., arXiv 1409.2329, section 3.1.
    """
    check_sizes("an LSTM", vocabulary=vocabulary, width=width, units=units, depth=depth)
    length_of("an LSTM", input_shape)
    rngs = nnx.Rngs(seed)
    embedding = TokenEmbedding(vocabulary, width, rngs=rngs)
    sizes = [width, *[2 * units] * (depth - 1)]
    recurrent = [BidirectionalLSTM(size, units, rngs=rngs) for size in sizes]
    return LayeredModel([embedding, *recurrent, SequenceClassifier(units, num_classes, rngs=rngs)])
