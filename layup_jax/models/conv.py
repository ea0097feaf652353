"""A small convolutional network with batch normalisation, for images of 8x8 and up."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import jax.numpy as jnp
from flax import nnx

from layup_jax.models.dropout import dropout_layer
from layup_jax.models.initializers import HE_NORMAL, LECUN_NORMAL
from layup_jax.models.layers import LayeredModel
from layup_jax.models.options import check_sizes
from layup_jax.types import Array


class ConvBlock(nnx.Module):
    """3x3 convolution, batch normalisation, ReLU, and average pooling where the stride is 2."""

    def __init__(self, num_inputs: int, num_outputs: int, *, stride: int, rngs: nnx.Rngs):
        """Sizes are numbers of channels."""
        self.conv = nnx.Conv(
            num_inputs, num_outputs, (3, 3), use_bias=False, kernel_init=HE_NORMAL, rngs=rngs
        )
        self.norm = nnx.BatchNorm(num_outputs, momentum=0.9, rngs=rngs)
        self.stride = stride

    def __call__(self, inputs: Array) -> Array:
        """(batch, height, width, inputs) -> (batch, height / stride, width / stride, outputs)."""
        outputs = nnx.relu(self.norm(self.conv(inputs)))
        if self.stride == 1:
            return outputs
        window = (self.stride, self.stride)
        return nnx.avg_pool(outputs, window, strides=window)


class Classifier(nnx.Module):
    """Mean over positions, optional dropout, linear map to logits."""

    def __init__(self, num_inputs: int, num_classes: int, *, dropout: float, rngs: nnx.Rngs):
        """Sizes are numbers of features; `dropout` is the rate, 0 for none."""
        self.dropout = dropout_layer(dropout, rngs)
        self.linear = nnx.Linear(num_inputs, num_classes, kernel_init=LECUN_NORMAL, rngs=rngs)

    def __call__(self, inputs: Array) -> Array:
        """(batch, height, width, inputs) -> (batch, classes)."""
        features = jnp.mean(inputs, axis=(1, 2))
        return self.linear(features if self.dropout is None else self.dropout(features))


def conv(
    image_shape: Sequence[int],
    num_classes: int,
    *,
    channels: Sequence[int] = (16, 16, 32, 32, 64),
    pooled: Sequence[int] = (1,),
    dropout: float = 0.0,
    seed: int = 0,
) -> LayeredModel:
    """A small convolutional network with batch normalisation, for images of 8x8 and up.

    One block for each entry of `channels`, then a classifier.

    Args:
      image_shape: (height, width, channels) of one image.
      num_classes: number of logits.
      channels: output channels of each block.
      pooled: indices of the blocks that halve height and width. XLA's convolution on CPUs is slow at 2x2,
        so images of 8x8 are best halved once only.
      dropout: rate before the last linear map.
      seed: seed of the initial parameters.

    Returns:
      A model from (batch, height, width, channels) float images to (batch, num_classes) logits.
    """
    check_sizes("a convolutional network", channels=min(channels, default=0))
    rngs = nnx.Rngs(seed)
    sizes = [image_shape[-1], *channels]
    blocks = [
        ConvBlock(before, after, stride=2 if index in pooled else 1, rngs=rngs)
        for index, (before, after) in enumerate(itertools.pairwise(sizes))
    ]
    return LayeredModel([*blocks, Classifier(sizes[-1], num_classes, dropout=dropout, rngs=rngs)])
