"""Softmax attention in several heads.

    self_attention(projected, heads=4, causal=True)   # (batch, length, 3 width) -> (batch, length, width)

Heads are brought before the tokens once, for forward and backward pass: batched products that find them
behind transpose all that they read, each time.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from layup_jax.models.linear import kept
from layup_jax.types import Array


def self_attention(projected: Array, *, heads: int, causal: bool) -> Array:
    """Mean of the values of all tokens, weighted by the softmax of query times key over sqrt(features).

    Args:
      projected: (batch, length, 3 x width): queries, keys and values, in each the heads in turn.
      heads: they divide the width.
      causal: whether a token sees only itself and those before.

    Returns:
      (batch, length, width), of the same dtype. Scores and softmax have at least 32 bits.

    References:
      Vaswani et al., Attention Is All You Need, 2017 (arXiv 1706.03762), equation 1.
    """
    batch, length, triple = projected.shape
    parts = projected.reshape(batch, length, 3, heads, triple // 3 // heads)
    queries, keys, values = jnp.transpose(parts, (2, 0, 3, 1, 4))
    queries = kept(queries / math.sqrt(queries.shape[-1]))
    keys, values = kept(keys), kept(values)
    exact = jnp.promote_types(projected.dtype, jnp.float32)
    scores = jnp.einsum("bhqf,bhkf->bhqk", queries, keys, preferred_element_type=exact)
    if causal:
        seen = jnp.tril(jnp.ones((length, length), bool))
        scores = jnp.where(seen, scores, jnp.finfo(exact).min)
    weights = _softmax(scores).astype(values.dtype)
    mixed = jnp.einsum("bhqk,bhkf->bhqf", weights, values)
    return jnp.swapaxes(mixed, 1, 2).reshape(batch, length, triple // 3)


@jax.custom_vjp
def _softmax(scores: Array) -> Array:
    """Of the last axis; its backward pass needs the result alone, not the exponentials as well."""
    return jax.nn.softmax(scores, axis=-1)


def _softmax_forward(scores: Array) -> tuple[Array, Array]:
    weights = kept(jax.nn.softmax(scores, axis=-1))
    return weights, weights


def _softmax_backward(weights: Array, cotangent: Array) -> tuple[Array]:
    weighted = weights * cotangent
    return (weighted - weights * jnp.sum(weighted, axis=-1, keepdims=True),)


_softmax.defvjp(_softmax_forward, _softmax_backward)
