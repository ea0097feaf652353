"""ResNets of 18, 34 and 50 layers, for images of CIFAR's size and of ImageNet's.

model = resnet18((32, 32, 3), 10)                          # 10 layers, 11,173,962 parameters
model = resnet50((224, 224, 3), 1000, stem="imagenet")     # 18 layers, 25,557,032 parameters

image -> Stem -> blocks of width -> 2 width, halved -> 4 width, halved -> 8 width, halved -> Classifier
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from flax import nnx

from layup_jax.models.conv import Classifier
from layup_jax.models.initializers import HE_NORMAL_OUTPUTS
from layup_jax.models.layers import LayeredModel
from layup_jax.models.options import check_choice, check_sizes
from layup_jax.types import Array

Norm: TypeAlias = Callable[[int, nnx.Rngs], nnx.Module]
StemKind: TypeAlias = Literal["cifar", "imagenet"]
NormKind: TypeAlias = Literal["batch", "group"]


def _batch_norm(num_features: int, rngs: nnx.Rngs) -> nnx.BatchNorm:
    return nnx.BatchNorm(num_features, momentum=0.9, rngs=rngs)


def _group_norm(num_features: int, rngs: nnx.Rngs, *, num_groups: int) -> nnx.GroupNorm:
    return nnx.GroupNorm(num_features, num_groups=num_groups, epsilon=1e-5, rngs=rngs)


def _norm(kind: NormKind, width: int) -> Norm:
    """The same number of groups in all layers, at least two channels in each.

    Images that have shrunk to one pixel leave a group nothing but its channels to normalise over, and a
    group of one would give zero.
    """
    if kind == "batch":
        return _batch_norm
    return functools.partial(_group_norm, num_groups=max(1, math.gcd(64, width) // 2))


class Convolution(nnx.Module):
    """Convolution that keeps the size of the image at stride 1, and normalisation."""

    def __init__(
        self,
        num_inputs: int,
        num_outputs: int,
        size: int,
        *,
        stride: int,
        norm: Norm,
        rngs: nnx.Rngs,
    ):
        """Numbers are of channels; `size` is the odd height and width of the kernel."""
        padding = size // 2
        self.conv = nnx.Conv(
            num_inputs,
            num_outputs,
            (size, size),
            strides=stride,
            padding=((padding, padding), (padding, padding)),
            use_bias=False,
            kernel_init=HE_NORMAL_OUTPUTS,
            rngs=rngs,
        )
        self.norm = norm(num_outputs, rngs)

    def __call__(self, inputs: Array) -> Array:
        """(batch, height, width, inputs) -> (batch, height / stride, width / stride, outputs)."""
        return self.norm(self.conv(inputs))


def _shortcut(
    num_inputs: int, num_outputs: int, *, stride: int, norm: Norm, rngs: nnx.Rngs
) -> Convolution | None:
    """A projection where the shape changes; None where the inputs go past the block as they are."""
    if stride == 1 and num_inputs == num_outputs:
        return None
    return Convolution(num_inputs, num_outputs, 1, stride=stride, norm=norm, rngs=rngs)


class Stem(nnx.Module):
    """Convolution of the image, normalisation, ReLU, and maximum pooling for large images."""

    def __init__(
        self, num_inputs: int, num_outputs: int, *, kind: StemKind, norm: Norm, rngs: nnx.Rngs
    ):
        """Numbers are of channels.

        Args:
          num_inputs: of the image.
          num_outputs: of the first stage.
          kind: cifar is 3x3; imagenet is 7x7 at stride 2, then pooling over 3x3 at stride 2.
          norm: makes the normalisation.
          rngs: source of the initial kernel.
        """
        self.pools = kind == "imagenet"
        size, stride = (7, 2) if self.pools else (3, 1)
        self.first = Convolution(num_inputs, num_outputs, size, stride=stride, norm=norm, rngs=rngs)

    def __call__(self, inputs: Array) -> Array:
        """(batch, height, width, inputs) -> (batch, height / 4 if it pools, ..., outputs)."""
        outputs = nnx.relu(self.first(inputs))
        return _pooled(outputs) if self.pools else outputs


def _pooled(inputs: Array) -> Array:
    """Maximum over 3x3 at stride 2, with one pixel of padding on every side."""
    edges: Any = ((1, 1), (1, 1))  # flax takes pairs and declares a string
    return nnx.max_pool(inputs, (3, 3), strides=(2, 2), padding=edges)


class BasicBlock(nnx.Module):
    """Two 3x3 convolutions beside a shortcut; the first has the stride."""

    expansion = 1

    def __init__(self, num_inputs: int, width: int, *, stride: int, norm: Norm, rngs: nnx.Rngs):
        """Numbers are of channels; there are `width` outputs."""
        self.first = Convolution(num_inputs, width, 3, stride=stride, norm=norm, rngs=rngs)
        self.second = Convolution(width, width, 3, stride=1, norm=norm, rngs=rngs)
        self.shortcut = _shortcut(num_inputs, width, stride=stride, norm=norm, rngs=rngs)

    def __call__(self, inputs: Array) -> Array:
        """(batch, height, width, inputs) -> (batch, height / stride, width / stride, outputs)."""
        outputs = self.second(nnx.relu(self.first(inputs)))
        return nnx.relu(outputs + (inputs if self.shortcut is None else self.shortcut(inputs)))


class Bottleneck(nnx.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut; the 3x3 has the stride and few channels."""

    expansion = 4

    def __init__(self, num_inputs: int, width: int, *, stride: int, norm: Norm, rngs: nnx.Rngs):
        """Numbers are of channels; there are four times `width` outputs."""
        num_outputs = self.expansion * width
        self.first = Convolution(num_inputs, width, 1, stride=1, norm=norm, rngs=rngs)
        self.second = Convolution(width, width, 3, stride=stride, norm=norm, rngs=rngs)
        self.third = Convolution(width, num_outputs, 1, stride=1, norm=norm, rngs=rngs)
        self.shortcut = _shortcut(num_inputs, num_outputs, stride=stride, norm=norm, rngs=rngs)

    def __call__(self, inputs: Array) -> Array:
        """(batch, height, width, inputs) -> (batch, height / stride, width / stride, outputs)."""
        outputs = self.third(nnx.relu(self.second(nnx.relu(self.first(inputs)))))
        return nnx.relu(outputs + (inputs if self.shortcut is None else self.shortcut(inputs)))


class Design(NamedTuple):
    """What tells one depth from another: the kind of block, and how many make each stage."""

    block: type[BasicBlock] | type[Bottleneck]
    depths: tuple[int, int, int, int]


class Options(NamedTuple):
    """What all depths leave to choose, as `resnet18` explains it."""

    stem: StemKind
    norm: NormKind
    width: int
    seed: int


def _resnet(
    design: Design, image_shape: Sequence[int], num_classes: int, options: Options
) -> LayeredModel:
    check_choice("stem", options.stem, ("cifar", "imagenet"))
    check_choice("norm", options.norm, ("batch", "group"))
    check_sizes("a ResNet", width=options.width)
    norm, rngs = _norm(options.norm, options.width), nnx.Rngs(options.seed)
    channels = options.width
    layers: list[nnx.Module] = [
        Stem(image_shape[-1], channels, kind=options.stem, norm=norm, rngs=rngs)
    ]
    for stage, depth in enumerate(design.depths):
        width = options.width * 2**stage
        for place in range(depth):
            stride = 2 if stage > 0 and place == 0 else 1
            layers.append(design.block(channels, width, stride=stride, norm=norm, rngs=rngs))
            channels = design.block.expansion * width
    return LayeredModel([*layers, Classifier(channels, num_classes, dropout=0.0, rngs=rngs)])


def resnet18(
    image_shape: Sequence[int],
    num_classes: int,
    *,
    stem: StemKind = "cifar",
    norm: NormKind = "batch",
    width: int = 64,
    seed: int = 0,
) -> LayeredModel:
    """ResNet-18, of eight basic blocks: 11.2 million parameters, for CIFAR or for ImageNet.

    Args:
      image_shape: (height, width, channels) of one image; halved three times, by the stem of ImageNet
        five times.
      num_classes: number of logits.
      stem: cifar, a 3x3 convolution, or imagenet, a 7x7 one at stride 2 with 3x3 pooling after it.
      norm: batch, or group: 32 groups in all layers, or half of `width` where that is less, or fewer
        still where those would not divide the channels. Nothing then depends on other samples.
      width: channels of the first stage; each later stage has twice as many.
      seed: seed of the initial parameters.

    Returns:
      A model from (batch, height, width, channels) float images to (batch, num_classes) logits.

    Raises:
      ConfigError: an option out of range.

    References:
      He et al., arXiv 1512.03385, table 1; the stem of CIFAR differs from it as all versions for such
      images do. Initial kernels as arXiv 1502.01852, equation 14. Group normalisation as arXiv
      1803.08494.
    """
    design = Design(BasicBlock, (2, 2, 2, 2))
    return _resnet(design, image_shape, num_classes, Options(stem, norm, width, seed))


def resnet34(
    image_shape: Sequence[int],
    num_classes: int,
    *,
    stem: StemKind = "cifar",
    norm: NormKind = "batch",
    width: int = 64,
    seed: int = 0,
) -> LayeredModel:
    """ResNet-34, of sixteen basic blocks: 21.3 million parameters, for CIFAR or for ImageNet.

    All arguments, results and references are those of `resnet18`.
    """
    design = Design(BasicBlock, (3, 4, 6, 3))
    return _resnet(design, image_shape, num_classes, Options(stem, norm, width, seed))


def resnet50(
    image_shape: Sequence[int],
    num_classes: int,
    *,
    stem: StemKind = "cifar",
    norm: NormKind = "batch",
    width: int = 64,
    seed: int = 0,
) -> LayeredModel:
    """ResNet-50, of sixteen bottlenecks: 23.5 million parameters, for CIFAR or for ImageNet.

    All arguments, results and references are those of `resnet18`. Differs from arXiv 1512.03385: the
    stride is on the 3x3 convolution of a bottleneck, not on the first (the variant called v1.5, as in
    arXiv 1706.02677, section 5.1).
    """
    design = Design(Bottleneck, (3, 4, 6, 3))
    return _resnet(design, image_shape, num_classes, Options(stem, norm, width, seed))
