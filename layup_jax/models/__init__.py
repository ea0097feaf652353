"""Layered models: the user's own, and the shipped ones by name."""

from layup_jax.models.conv import conv
from layup_jax.models.gpt import gpt, gpt2
from layup_jax.models.gpt_weights import pretrained_gpt
from layup_jax.models.layers import LayeredModel, Segment
from layup_jax.models.lstm import lstm
from layup_jax.models.mlp import mlp
from layup_jax.models.partition import partition_layers
from layup_jax.models.resnet import resnet18, resnet34, resnet50
from layup_jax.models.vit import vit, vit_s16

MODELS = {
    "conv": conv,
    "mlp": mlp,
    "resnet18": resnet18,
    "resnet34": resnet34,
    "resnet50": resnet50,
    "vit": vit,
    "vit_s16": vit_s16,
    "lstm": lstm,
    "gpt": gpt,
    "gpt2": gpt2,
}

__all__ = [
    "MODELS",
    "LayeredModel",
    "Segment",
    "conv",
    "gpt",
    "gpt2",
    "lstm",
    "mlp",
    "partition_layers",
    "pretrained_gpt",
    "resnet18",
    "resnet34",
    "resnet50",
    "vit",
    "vit_s16",
]
