"""Published weights of GPT-2 as the parameters that a model begins with.

from safetensors.numpy import load_file
model = gpt2((1024,), 50257, size="small")
model = pretrained_gpt(model, load_file("model.safetensors"))   # from the folder of a checkpoint

Names and layouts are those of transformers' GPT2LMHeadModel and GPT2Model; that package is not needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import ArrayLike

from layup_jax.errors import ModelError
from layup_jax.models.gpt import TIED, Block, Embedding
from layup_jax.models.layers import LayeredModel

_PREFIX = "transformer."
_TOKENS = "wte.weight"
_LOGITS = "lm_head.weight"
_MASKS = re.compile(r"h\.\d+\.attn\.(masked_)?bias")  # constants that old checkpoints have kept
_MODULES = {
    "norm1": "ln_1",
    "attention.inputs": "attn.c_attn",
    "attention.outputs": "attn.c_proj",
    "norm2": "ln_2",
    "perceptron.inputs": "mlp.c_fc",
    "perceptron.outputs": "mlp.c_proj",
}
_ENDS = {
    "tokens.embedding": _TOKENS,
    "positions.embedding": "wpe.weight",
    "embedding": _TOKENS,
    "norm.scale": "ln_f.weight",
    "norm.bias": "ln_f.bias",
}


def pretrained_gpt(model: LayeredModel, weights: Mapping[str, ArrayLike]) -> LayeredModel:
    """The same model, its parameters begun at given values.

    Args:
      model: of `gpt` or `gpt2`, as large as the weights. Its number of heads is not in any weight's
        shape and has to be right. For a shorter context cut `wpe.weight`.
      weights: by transformers' names, with or without "transformer." before them; they become float32.

    Returns:
      A new model.

    Raises:
      ModelError: not a GPT, a weight that is missing, left over or of another shape, or a head whose
        matrix is not the embedding's.
    """
    if not isinstance(model.layers[0], Embedding):
        raise ModelError(
            f"weights of GPT-2 need a model of gpt or gpt2, got one that begins with {model.names[0]}; "
            "make one of these"
        )
    arrays = {name.removeprefix(_PREFIX): np.asarray(each) for name, each in weights.items()}
    _check_names(arrays, [name for each in range(len(model)) for name in _names(model, each)])
    _check_head(arrays)
    layers = [_begun(model, index, arrays) for index in range(len(model))]
    return LayeredModel(layers, tied=TIED)


def _names(model: LayeredModel, index: int) -> list[str]:
    """Theirs of one layer's parameters, in the order of their paths."""
    paths = [".".join(map(str, path)) for path, _ in nnx.to_flat_state(_params(model, index))]
    if not isinstance(model.layers[index], Block):
        return [_ENDS[path] for path in paths]
    return [f"h.{index - 1}.{_in_block(path)}" for path in paths]


def _in_block(path: str) -> str:
    module, _, leaf = path.rpartition(".")
    return f"{_MODULES[module]}.{'bias' if leaf == 'bias' else 'weight'}"


def _params(model: LayeredModel, index: int) -> nnx.State:
    return nnx.state(model.layers[index], nnx.Param)


def _check_names(arrays: Mapping[str, np.ndarray], wanted: Iterable[str]) -> None:
    known = {name for name in arrays if name != _LOGITS and not _MASKS.fullmatch(name)}
    missing, left_over = sorted({*wanted} - known), sorted(known - {*wanted})
    if missing or left_over:
        raise ModelError(
            "weights must be those of a GPT-2 of the model's depth, got "
            f"{f'no {missing[0]!r}' if missing else f'{left_over[0]!r} too'}; use its own size"
        )


def _check_head(arrays: Mapping[str, np.ndarray]) -> None:
    if _LOGITS in arrays and not np.array_equal(arrays[_LOGITS], arrays[_TOKENS]):
        raise ModelError(
            f"the weights' '{_LOGITS}' must be the matrix '{_TOKENS}', as in GPT-2, got another one; "
            "use a checkpoint whose embedding is tied"
        )


def _begun(model: LayeredModel, index: int, arrays: Mapping[str, np.ndarray]) -> nnx.Module:
    layer, params = nnx.clone(model.layers[index]), nnx.to_flat_state(_params(model, index))
    values = []
    for name, (path, variable) in zip(_names(model, index), params, strict=True):
        array, shape = arrays[name], variable[...].shape
        if array.shape != shape:
            raise ModelError(
                f"weight '{name}' must have shape {shape} for this model, got {array.shape}; "
                "use the model's own size"
            )
        values.append((path, variable.replace(jnp.array(array, jnp.float32))))
    nnx.update(layer, nnx.from_flat_state(values))
    return layer
