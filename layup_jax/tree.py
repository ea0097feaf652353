"""Pytrees as flat vectors and back: the only place where parameters are ravelled, for messages.

vector = encode(payload)               # (n,) of wire_dtype(payload)
payload = decode(vector, like=payload) # the exact inverse for float32 and float64 leaves
words = encode_narrow(payload)         # uint16; half as many bytes, arrays rounded to bfloat16
payload = decode_narrow(words, like=payload)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from layup_jax.types import Array, PyTree


def num_parameters(tree: PyTree) -> int:
    """Number of scalars in all leaves."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def num_bytes(tree: PyTree) -> int:
    """Bytes of all leaves in their own dtypes."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def split_inexact(tree: PyTree) -> tuple[list[Array], Callable[[list[Array]], PyTree]]:
    """Splits off the floating-point and complex leaves of a pytree.

    Returns:
      (those leaves, a function that puts others of the same number in their place).
    """
    leaves, structure = jax.tree.flatten(tree)
    chosen = [jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves]

    def rebuild(values: list[Array]) -> PyTree:
        rest = iter(values)
        merged = [next(rest) if keep else leaf for leaf, keep in zip(leaves, chosen, strict=True)]
        return jax.tree.unflatten(structure, merged)

    return [leaf for leaf, keep in zip(leaves, chosen, strict=True) if keep], rebuild


def all_finite(tree: PyTree) -> bool:
    """Whether every inexact leaf is finite everywhere; waits for the values."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in leaves)


def wire_dtype(tree: PyTree) -> np.dtype:
    """Dtype of an encoded tree: the leaves' common type, at least float32 (MPI has no bfloat16)."""
    return jnp.result_type(jnp.float32, *(leaf.dtype for leaf in jax.tree.leaves(tree)))


def encode(tree: PyTree) -> Array:
    """Concatenates all leaves, in flattening order, into one vector of `wire_dtype(tree)`."""
    dtype = wire_dtype(tree)
    leaves = [jnp.ravel(leaf).astype(dtype) for leaf in jax.tree.leaves(tree)]
    return jnp.concatenate(leaves) if leaves else jnp.zeros((0,), dtype)


def decode(vector: Array, like: PyTree) -> PyTree:
    """Splits `vector` into the shapes and dtypes of `like`; the inverse of `encode`.

    Args:
      vector: shape (num_parameters(like),).
      like: pytree of arrays or of `jax.ShapeDtypeStruct`.

    Returns:
      A pytree with the structure, shapes and dtypes of `like`.
    """
    leaves, structure = jax.tree.flatten(like)
    parts = _split(vector, [math.prod(leaf.shape) for leaf in leaves])
    shaped = [
        part.reshape(leaf.shape).astype(leaf.dtype)
        for part, leaf in zip(parts, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, shaped)


def num_words(tree: PyTree) -> int:
    """Length of `encode_narrow(tree)`."""
    return sum(map(_num_words, jax.tree.leaves(tree)))


def encode_narrow(tree: PyTree) -> Array:
    """Concatenates all leaves into one uint16 vector, because MPI knows no bfloat16.

    Arrays are rounded to the nearest bfloat16, with a relative error of at most 2^-8, one word for each
    element; scalars (of no axes) are kept in float32, two words each.

    Args:
      tree: of real arrays; float64 loses what the others do.

    Returns:
      (num_words(tree),) uint16.
    """
    words = [_words(leaf) for leaf in jax.tree.leaves(tree)]
    return jnp.concatenate(words) if words else jnp.zeros((0,), jnp.uint16)


def decode_narrow(words: Array, like: PyTree) -> PyTree:
    """What is left of a tree after `encode_narrow`, in the shapes and dtypes of `like`.

    The exact inverse for arrays whose values bfloat16 has, and for float32 scalars.

    Args:
      words: (num_words(like),) uint16.
      like: as in `decode`.
    """
    leaves, structure = jax.tree.flatten(like)
    parts = _split(words, [_num_words(leaf) for leaf in leaves])
    return jax.tree.unflatten(structure, map(_from_words, parts, leaves))


def _split(vector: Array, sizes: Sequence[int]) -> list[Array]:
    return jnp.split(vector, np.cumsum(sizes)[:-1]) if sizes else []


def _num_words(leaf: Array) -> int:
    return math.prod(leaf.shape) if leaf.shape else 2


def _words(leaf: Array) -> Array:
    kept = jnp.asarray(leaf, jnp.float32)
    if leaf.shape:  # rounded by name, as XLA may leave out a conversion to bfloat16 and back
        kept = jax.lax.reduce_precision(kept, exponent_bits=8, mantissa_bits=7).astype(jnp.bfloat16)
    return jnp.ravel(jax.lax.bitcast_convert_type(kept, jnp.uint16))


def _from_words(words: Array, like: Array) -> Array:
    kept = jax.lax.bitcast_convert_type(words, jnp.bfloat16 if like.shape else jnp.float32)
    return kept.reshape(like.shape).astype(like.dtype)
