"""Layered models: the user's own, and the shipped ones by name."""

from layup_jax.models.conv import conv
from layup_jax.models.gpt import gpt, gpt2
from layup_jax.models.layers import LayeredModel, Segment
from layup_jax.models.mlp import mlp
from layup_jax.models.partition import partition_layers
from layup_jax.models.resnet import resnet18

MODELS = {"conv": conv, "gpt": gpt, "gpt2": gpt2, "mlp": mlp, "resnet18": resnet18}

__all__ = [
    "MODELS",
    "LayeredModel",
    "Segment",
    "conv",
    "gpt",
    "gpt2",
    "mlp",
    "partition_layers",
    "resnet18",
]
