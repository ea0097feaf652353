"""Push-sum: averages over one-way messages, by weights that travel with the parameters.

weight, message_weight = split(weight)                       # send (x, message_weight)
x, weight = merge(x, weight, y, arrived_weight)              # when (y, v) arrives
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from layup_jax.types import Array, PyTree


def initial_weight() -> Array:
    """The weight of every worker and segment at step 0: 1, a float32 scalar."""
    return jnp.ones((), jnp.float32)


def split(weight: Array) -> tuple[Array, Array]:
    """Halves a weight: (what stays, what is sent). Exact in floating point; the sum is kept."""
    half = weight / 2
    return half, half


def merge(params: PyTree, weight: Array, received: PyTree, arrived: Array) -> tuple[PyTree, Array]:
    r"""Merges a message: :math:`x \leftarrow (w x + v y)/(w + v),\ w \leftarrow w + v`.

    Keeps the sum over workers of w, and of w x, with messages in flight included; so without
    gradients every worker converges to the initial mean.

    Args:
      params: x.
      weight: w, scalar.
      received: y, like params.
      arrived: v, scalar.

    Returns:
      (x, w) after the merge.

    References:
      Kempe et al. 2003, push-sum; GoSGD, arXiv 1611.09726; LayUp, arXiv 2410.05985 v4 (our
      reconstruction of its layer-wise form).
    """
    total = weight + arrived
    share = arrived / total
    merged = jax.tree.map(lambda x, y: x + share.astype(x.dtype) * (y - x), params, received)
    return merged, total
