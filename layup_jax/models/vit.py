"""Vision transformers: patches of an image as tokens, equal encoder blocks, logits of a class token.

model = vit_s16((224, 224, 3), 1000)                                    # 14 layers, 22,050,664 parameters
model = vit((8, 8, 1), 10, patch=2, width=32, depth=4, heads=4)

image -> PatchEmbedding -> EncoderBlock -> ... -> EncoderBlock -> Head
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from flax import nnx

from layup_jax.errors import ConfigError
from layup_jax.models.attention import self_attention
from layup_jax.models.dropout import dropout_layer
from layup_jax.models.initializers import LECUN_NORMAL, SMALL_NORMAL
from layup_jax.models.layers import LayeredModel
from layup_jax.models.linear import Linear, kept
from layup_jax.models.options import check_sizes
from layup_jax.types import Array


def _linear(num_inputs: int, num_outputs: int, rngs: nnx.Rngs) -> Linear:
    return Linear(num_inputs, num_outputs, kernel_init=LECUN_NORMAL, rngs=rngs)


class PatchEmbedding(nnx.Module):
    """Linear map of each patch, a class token before them, and learned positions."""

    def __init__(
        self,
        image_shape: Sequence[int],
        width: int,
        *,
        patch: int,
        dropout: float,
        rngs: nnx.Rngs,
    ):
        """Takes the shape (height, width, channels) of an image and the number of features."""
        height, breadth, channels = image_shape
        num_patches = (height // patch) * (breadth // patch)
        self.patch = patch
        self.linear = _linear(patch * patch * channels, width, rngs)
        self.token = nnx.Param(jnp.zeros((1, 1, width)))
        self.positions = nnx.Param(SMALL_NORMAL(rngs.params(), (1, 1 + num_patches, width)))
        self.dropout = dropout_layer(dropout, rngs)

    def __call__(self, images: Array) -> Array:
        """(batch, height, width, channels) -> (batch, 1 + patches, features), row by row."""
        patches = self.linear(_patches(images, self.patch))
        tokens = jnp.broadcast_to(self.token[...], (images.shape[0], 1, patches.shape[-1]))
        outputs = jnp.concatenate([tokens, patches], axis=1) + self.positions[...]
        return outputs if self.dropout is None else self.dropout(outputs)


def _patches(images: Array, size: int) -> Array:
    """(batch, height, width, channels) -> (batch, patches, size * size * channels)."""
    batch, height, width, channels = images.shape
    parts = images.reshape(batch, height // size, size, width // size, size, channels)
    return parts.transpose(0, 1, 3, 2, 4, 5).reshape(batch, -1, size * size * channels)


class SelfAttention(nnx.Module):
    """Softmax attention of every token to all, in several heads."""

    def __init__(self, width: int, heads: int, *, rngs: nnx.Rngs):
        """Takes the number of features, which the number of heads must divide."""
        self.heads = heads
        self.inputs = _linear(width, 3 * width, rngs)
        self.outputs = _linear(width, width, rngs)

    def __call__(self, tokens: Array) -> Array:
        """(batch, tokens, features) -> the same shape."""
        mixed = self_attention(self.inputs(tokens), heads=self.heads, causal=False)
        return self.outputs(mixed)


class EncoderBlock(nnx.Module):
    """Self-attention and a multilayer perceptron, each added to what it was computed from.

    x <- x + attention(norm(x)), then x <- x + linear(GELU(linear(norm(x)))).
    """

    def __init__(self, width: int, heads: int, *, dropout: float, rngs: nnx.Rngs):
        """Takes numbers of features and of heads, and the rate of dropout."""
        self.norm1 = nnx.LayerNorm(width, rngs=rngs)
        self.attention = SelfAttention(width, heads, rngs=rngs)
        self.norm2 = nnx.LayerNorm(width, rngs=rngs)
        self.linear1 = _linear(width, 4 * width, rngs)
        self.linear2 = _linear(4 * width, width, rngs)
        self.dropout = dropout_layer(dropout, rngs)

    def __call__(self, tokens: Array) -> Array:
        """(batch, tokens, features) -> the same shape."""
        tokens = kept(tokens + self._dropped(self.attention(self.norm1(tokens))))
        hidden = nnx.gelu(self.linear1(self.norm2(tokens)), approximate=False)
        return tokens + self._dropped(self.linear2(self._dropped(hidden)))

    def _dropped(self, values: Array) -> Array:
        return values if self.dropout is None else self.dropout(values)


class Head(nnx.Module):
    """Normalisation and linear map of the class token."""

    def __init__(self, width: int, num_classes: int, *, rngs: nnx.Rngs):
        """Sizes are numbers of features."""
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.linear = _linear(width, num_classes, rngs)

    def __call__(self, tokens: Array) -> Array:
        """(batch, tokens, features) -> (batch, classes)."""
        return self.linear(self.norm(tokens[:, 0]))


def _check(image_shape: Sequence[int], patch: int, width: int, heads: int) -> None:
    if len(image_shape) != 3:
        raise ConfigError(
            "a vision transformer needs images of (height, width, channels), got shape "
            f"{tuple(image_shape)}; use another model"
        )
    if any(size % patch for size in image_shape[:2]):
        raise ConfigError(
            "a vision transformer needs images that its patches fill, got patches of "
            f"{patch}x{patch} and images of {image_shape[0]}x{image_shape[1]}; change the patch or "
            "resize the images"
        )
    if width % heads:
        raise ConfigError(
            f"a vision transformer needs a number of heads that divides its width, got {heads} heads "
            f"and width {width}; change one of them"
        )


def vit(
    image_shape: Sequence[int],
    num_classes: int,
    *,
    patch: int = 16,
    width: int = 384,
    depth: int = 12,
    heads: int = 6,
    dropout: float = 0.0,
    seed: int = 0,
) -> LayeredModel:
    """A vision transformer of any size: patches, then equal encoder blocks, then a class token's head.

    Args:
      image_shape: (height, width, channels) of one image.
      num_classes: number of logits.
      patch: height and width of a patch, which must divide those of the image.
      width: features of a token.
      depth: number of encoder blocks; all share one compilation.
      heads: of the attention; must divide `width`.
      dropout: rate after the positions and after each linear map of a block but that to queries, keys
        and values.
      seed: seed of the initial parameters.

    Returns:
      A model from (batch, height, width, channels) float images to (batch, num_classes) logits.

    Raises:
      ConfigError: an option out of range, or a patch or number of heads that does not divide.

    References:
      Dosovitskiy et al., arXiv 2010.11929, equations 1 to 4 and appendix B.1. Differs from its code: all
      kernels start normal with variance 1 / inputs.
    """
    check_sizes("a vision transformer", patch=patch, width=width, depth=depth, heads=heads)
    _check(image_shape, patch, width, heads)
    rngs = nnx.Rngs(seed)
    embedding = PatchEmbedding(image_shape, width, patch=patch, dropout=dropout, rngs=rngs)
    blocks = [EncoderBlock(width, heads, dropout=dropout, rngs=rngs) for _ in range(depth)]
    return LayeredModel([embedding, *blocks, Head(width, num_classes, rngs=rngs)])


def vit_s16(
    image_shape: Sequence[int], num_classes: int, *, dropout: float = 0.0, seed: int = 0
) -> LayeredModel:
    """ViT-S/16: patches of 16x16, 384 features, 12 blocks, 6 heads; 22.05 million parameters.

    All arguments and results are those of `vit`.

    References:
      Touvron et al., arXiv 2012.12877, table 1 (DeiT-S, without distillation).
    """
    return vit(image_shape, num_classes, dropout=dropout, seed=seed)
