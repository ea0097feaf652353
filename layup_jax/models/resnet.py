"""ResNet-18 for images of CIFAR's size: a 3x3 stem without pooling, eight basic blocks, a classifier.

model = resnet18((32, 32, 3), 10)      # 10 layers, 11,173,962 parameters

image -> Stem 64 -> 64, 64 -> 128/2, 128 -> 256/2, 256 -> 512/2, 512 -> Classifier
"""

from __future__ import annotations

from collections.abc import Sequence

from flax import nnx

from layup_jax.models.conv import Classifier
from layup_jax.models.initializers import HE_NORMAL_OUTPUTS
from layup_jax.models.layers import LayeredModel
from layup_jax.types import Array


def _convolution(
    num_inputs: int, num_outputs: int, size: int, *, stride: int, rngs: nnx.Rngs
) -> nnx.Conv:
    padding = size // 2
    return nnx.Conv(
        num_inputs,
        num_outputs,
        (size, size),
        strides=stride,
        padding=((padding, padding), (padding, padding)),
        use_bias=False,
        kernel_init=HE_NORMAL_OUTPUTS,
        rngs=rngs,
    )


def _norm(num_features: int, rngs: nnx.Rngs) -> nnx.BatchNorm:
    return nnx.BatchNorm(num_features, momentum=0.9, rngs=rngs)


class Stem(nnx.Module):
    """3x3 convolution of the image, batch normalisation, ReLU."""

    def __init__(self, num_inputs: int, num_outputs: int, *, rngs: nnx.Rngs):
        """Sizes are numbers of channels."""
        self.conv = _convolution(num_inputs, num_outputs, 3, stride=1, rngs=rngs)
        self.norm = _norm(num_outputs, rngs)

    def __call__(self, inputs: Array) -> Array:
        """(batch, height, width, inputs) -> (batch, height, width, outputs)."""
        return nnx.relu(self.norm(self.conv(inputs)))


class BasicBlock(nnx.Module):
    """Two 3x3 convolutions beside a shortcut, which is projected where the shape changes."""

    def __init__(self, num_inputs: int, num_outputs: int, *, stride: int, rngs: nnx.Rngs):
        """Sizes are numbers of channels; the first convolution has the stride."""
        self.conv1 = _convolution(num_inputs, num_outputs, 3, stride=stride, rngs=rngs)
        self.norm1 = _norm(num_outputs, rngs)
        self.conv2 = _convolution(num_outputs, num_outputs, 3, stride=1, rngs=rngs)
        self.norm2 = _norm(num_outputs, rngs)
        self.projects = stride != 1 or num_inputs != num_outputs
        if self.projects:
            self.conv3 = _convolution(num_inputs, num_outputs, 1, stride=stride, rngs=rngs)
            self.norm3 = _norm(num_outputs, rngs)

    def __call__(self, inputs: Array) -> Array:
        """(batch, height, width, inputs) -> (batch, height / stride, width / stride, outputs)."""
        outputs = nnx.relu(self.norm1(self.conv1(inputs)))
        outputs = self.norm2(self.conv2(outputs))
        shortcut = self.norm3(self.conv3(inputs)) if self.projects else inputs
        return nnx.relu(outputs + shortcut)


def resnet18(
    image_shape: Sequence[int], num_classes: int, *, width: int = 64, seed: int = 0
) -> LayeredModel:
    """Builds the network: a stem, four stages of two basic blocks, a classifier.

    Args:
      image_shape: (height, width, channels) of one image; halved three times.
      num_classes: number of logits.
      width: channels of the first stage; each later stage has twice as many.
      seed: seed of the initial parameters.

    Returns:
      A model from (batch, height, width, channels) float images to (batch, num_classes) logits.

    References:
      He et al., arXiv 1512.03385, table 1. Differs from it as all its versions for CIFAR do: 3x3
      stem, no pooling after it. Initial kernels as arXiv 1502.01852, equation 14.
    """
    rngs = nnx.Rngs(seed)
    layers: list[nnx.Module] = [Stem(image_shape[-1], width, rngs=rngs)]
    channels = width
    for stage in range(4):
        outputs = width * 2**stage
        for stride in (1 if stage == 0 else 2, 1):
            layers.append(BasicBlock(channels, outputs, stride=stride, rngs=rngs))
            channels = outputs
    return LayeredModel([*layers, Classifier(channels, num_classes, dropout=0.0, rngs=rngs)])
