"""Pytrees as flat vectors and back: the only place where parameters are ravelled, for messages.

vector = encode(payload)               # (n,) of wire_dtype(payload)
payload = decode(vector, like=payload) # the exact inverse for float32 and float64 leaves
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from layup_jax.types import Array, PyTree


def num_parameters(tree: PyTree) -> int:
    """Number of scalars in all leaves."""
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


def num_bytes(tree: PyTree) -> int:
    """Bytes of all leaves in their own dtypes."""
    return sum(int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


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
    ends = np.cumsum([int(np.prod(leaf.shape)) for leaf in leaves])
    parts = jnp.split(vector, ends[:-1]) if leaves else []
    shaped = [
        part.reshape(leaf.shape).astype(leaf.dtype)
        for part, leaf in zip(parts, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, shaped)
