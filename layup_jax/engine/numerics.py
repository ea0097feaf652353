"""In which precision a segment computes, what its forward pass keeps, and on which devices.

    numerics = Numerics(compute_dtype="bfloat16", remat="full")
    run = numerics.kept(lambda params: apply(numerics.cast(params)))

Parameters, optimizer state, model state and the loss stay in float32 (master weights).
Activations and their cotangents are in the compute dtype between segments too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from layup_jax.engine.recompute import without_cheap_residuals
from layup_jax.engine.sharding import ONE_DEVICE, LocalMesh
from layup_jax.types import PyTree


class Numerics(NamedTuple):
    """How segments compute.

    Attributes:
      compute_dtype: float32 leaves everything in the dtype it has; bfloat16 converts what is wider.
      remat: what a backward pass computes again. none: elementwise operations only; dots: everything but
        matrix products; full: everything but the inputs of the segment.
      mesh: devices that share each batch.
    """

    compute_dtype: str = "float32"
    remat: str = "none"
    mesh: LocalMesh = ONE_DEVICE

    def cast(self, tree: PyTree) -> PyTree:
        """Floats in the compute dtype."""
        if self.compute_dtype == "float32":
            return tree
        return _converted(tree, jnp.dtype(self.compute_dtype))

    def uncast(self, tree: PyTree) -> PyTree:
        """What a loss is given: floats of 32 bits."""
        return tree if self.compute_dtype == "float32" else _converted(tree, jnp.dtype("float32"))

    def kept(self, run: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, whose VJP closure keeps what `remat` says."""
        if self.remat == "none":
            return without_cheap_residuals(run)
        policies = jax.checkpoint_policies
        policy = policies.dots_saveable if self.remat == "dots" else policies.nothing_saveable
        return jax.checkpoint(run, policy=policy, prevent_cse=False)


PLAIN = Numerics()


def _converted(tree: PyTree, dtype: Any) -> PyTree:
    return jax.tree.map(
        lambda leaf: leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, tree
    )


def like(tree: PyTree, template: PyTree) -> PyTree:
    """A tree with the dtypes of another of the same structure."""
    return jax.tree.map(lambda leaf, other: leaf.astype(other.dtype), tree, template)
