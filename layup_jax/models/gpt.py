"""GPT-2, and small ones of its kind: tokens in, logits of the next token out.

model = gpt((256,), 257)                         # 6 blocks of width 256: for a laptop
model = gpt2((1024,), 50257, size="small")       # 124,439,808 parameters

tokens -> Embedding -> Block x depth -> Head, whose matrix is the embedding's (tied)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx

from layup_jax.errors import ConfigError
from layup_jax.models.attention import self_attention
from layup_jax.models.dropout import dropout_layer
from layup_jax.models.layers import LayeredModel
from layup_jax.models.linear import Linear, by_rows, kept
from layup_jax.models.options import check_choice, check_sizes, length_of
from layup_jax.types import Array

_STDDEV = 0.02
_EPSILON = 1e-5
TIED = {"-1.embedding": "0.tokens.embedding"}  # what the last layer borrows of the first


class Size(NamedTuple):
    """Of a transformer: number of blocks, features of an activation, attention heads."""

    depth: int
    width: int
    heads: int


SIZES = {
    "small": Size(12, 768, 12),
    "medium": Size(24, 1024, 16),
    "large": Size(36, 1280, 20),
    "xl": Size(48, 1600, 25),
}


def _normal(stddev: float) -> nnx.Initializer:
    return nnx.initializers.normal(stddev)


class Embedding(nnx.Module):
    """Sum of what is learned for each token and for each position."""

    def __init__(
        self, vocabulary: int, context: int, width: int, *, dropout: float, rngs: nnx.Rngs
    ):
        """Takes numbers of tokens, of positions and of features."""
        normal = _normal(_STDDEV)
        self.tokens = nnx.Embed(vocabulary, width, embedding_init=normal, rngs=rngs)
        self.positions = nnx.Embed(context, width, embedding_init=normal, rngs=rngs)
        self.dropout = dropout_layer(dropout, rngs)

    def __call__(self, tokens: Array) -> Array:
        """Int (batch, length) -> (batch, length, width); length at most the context."""
        positions = self.positions.embedding[...][None, : tokens.shape[1]]
        outputs = self.tokens(tokens) + positions
        return outputs if self.dropout is None else self.dropout(outputs)


class Attention(nnx.Module):
    """Causal self-attention; queries, keys and values come from one product."""

    def __init__(self, size: Size, *, dropout: float, rngs: nnx.Rngs):
        """Takes the size of the model and the rate of dropout after the last product."""
        width = size.width
        self.heads = size.heads
        self.inputs = Linear(width, 3 * width, kernel_init=_normal(_STDDEV), rngs=rngs)
        self.outputs = Linear(width, width, kernel_init=_residual_init(size), rngs=rngs)
        self.dropout = dropout_layer(dropout, rngs)

    def __call__(self, inputs: Array) -> Array:
        """(batch, length, width) -> the same."""
        mixed = self_attention(self.inputs(inputs), heads=self.heads, causal=True)
        outputs = self.outputs(mixed)
        return outputs if self.dropout is None else self.dropout(outputs)


class Perceptron(nnx.Module):
    """Two linear maps, four times the width in between, with GELU in its tanh form."""

    def __init__(self, size: Size, *, dropout: float, rngs: nnx.Rngs):
        """As `Attention`."""
        width = size.width
        self.inputs = Linear(width, 4 * width, kernel_init=_normal(_STDDEV), rngs=rngs)
        self.outputs = Linear(4 * width, width, kernel_init=_residual_init(size), rngs=rngs)
        self.dropout = dropout_layer(dropout, rngs)

    def __call__(self, inputs: Array) -> Array:
        """(batch, length, width) -> the same."""
        outputs = self.outputs(nnx.gelu(self.inputs(inputs), approximate=True))
        return outputs if self.dropout is None else self.dropout(outputs)


class Block(nnx.Module):
    """Attention and perceptron, each normalised before and added to what it was given."""

    def __init__(self, size: Size, *, dropout: float, rngs: nnx.Rngs):
        """As `Attention`."""
        self.norm1 = nnx.LayerNorm(size.width, epsilon=_EPSILON, rngs=rngs)
        self.attention = Attention(size, dropout=dropout, rngs=rngs)
        self.norm2 = nnx.LayerNorm(size.width, epsilon=_EPSILON, rngs=rngs)
        self.perceptron = Perceptron(size, dropout=dropout, rngs=rngs)

    def __call__(self, inputs: Array) -> Array:
        """(batch, length, width) -> the same."""
        outputs = kept(inputs + self.attention(self.norm1(inputs)))
        return outputs + self.perceptron(self.norm2(outputs))


class Head(nnx.Module):
    """Normalisation, then the product with every token's embedding."""

    def __init__(self, vocabulary: int, width: int, *, rngs: nnx.Rngs):
        """Takes numbers of tokens and of features; the matrix is to be tied to an embedding."""
        self.norm = nnx.LayerNorm(width, epsilon=_EPSILON, rngs=rngs)
        self.embedding = nnx.Param(jnp.zeros((vocabulary, width)))

    def __call__(self, inputs: Array) -> Array:
        """(batch, length, width) -> logits (batch, length, vocabulary)."""
        normed = self.norm(inputs)
        matrix = self.embedding[...].T.astype(normed.dtype)
        return by_rows(lambda rows: rows @ matrix, normed)


def _residual_init(size: Size) -> nnx.Initializer:
    """What is added 2 x depth times to the activations starts smaller, so that their sum does not."""
    return _normal(_STDDEV / math.sqrt(2 * size.depth))


def gpt(
    input_shape: Sequence[int],
    num_classes: int,
    *,
    depth: int = 6,
    width: int = 256,
    heads: int = 4,
    dropout: float = 0.0,
    seed: int = 0,
) -> LayeredModel:
    """A decoder of GPT-2's kind, of any size: embedding, equal blocks, a head tied to the embedding.

    Args:
      input_shape: (context,), the most tokens of a sequence.
      num_classes: tokens in the vocabulary.
      depth: number of blocks.
      width: features of an activation.
      heads: attention heads; they divide the width.
      dropout: rate after the embedding, and after attention and perceptron of each block.
      seed: seed of the initial parameters.

    Returns:
      A model of depth + 2 layers from int (batch, length) tokens to (batch, length, num_classes) logits.
      The parameters of the last one are the normalisation's alone: its matrix is the embedding's.

    Raises:
      ConfigError: samples are no tokens, heads do not divide the width, or there are no blocks.

    References:
      Radford et al., Language Models are Unsupervised Multitask Learners, 2019 (GPT-2): normalisation
      before each part, learned positions, tied embedding, residual parts started at 1 / sqrt(2 depth).
      Differs from it in having no dropout on attention weights.
    """
    check_sizes("a GPT", depth=depth, width=width, heads=heads)
    if width % heads:
        raise ConfigError(
            f"a GPT needs a number of heads that divides its width, got {heads} heads and width "
            f"{width}; change one of them"
        )
    size, rngs = Size(depth, width, heads), nnx.Rngs(seed)
    context = length_of("a GPT", input_shape)
    embedding = Embedding(num_classes, context, width, dropout=dropout, rngs=rngs)
    blocks = [Block(size, dropout=dropout, rngs=rngs) for _ in range(depth)]
    head = Head(num_classes, width, rngs=rngs)
    return LayeredModel([embedding, *blocks, head], tied=TIED)


def gpt2(
    input_shape: Sequence[int],
    num_classes: int,
    *,
    size: str = "small",
    dropout: float = 0.1,
    seed: int = 0,
) -> LayeredModel:
    """GPT-2 in one of its published sizes: small, medium, large or xl.

    Args:
      input_shape: (1024,) as published; any number of tokens will do.
      num_classes: 50257 as published.
      size: small | medium | large | xl: 124, 355, 774 and 1,558 million parameters as published.
      dropout: as in `gpt`.
      seed: as in `gpt`.

    Raises:
      ConfigError: another size.
    """
    check_choice("size", size, SIZES)
    depth, width, heads = SIZES[size]
    return gpt(
        input_shape,
        num_classes,
        depth=depth,
        width=width,
        heads=heads,
        dropout=dropout,
        seed=seed,
    )
