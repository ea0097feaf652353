"""Losses: functions of the last layer's outputs and the batch, to a scalar."""

from __future__ import annotations

import jax.numpy as jnp
import optax

from layup_jax.types import Array, PyTree


def cross_entropy(logits: Array, batch: PyTree) -> Array:
    """Mean softmax cross-entropy.

    Args:
      logits: (..., classes) float.
      batch: a record with `labels`, integers of shape (...).

    Returns:
      Scalar, in nats.
    """
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels))


def accuracy(logits: Array, batch: PyTree) -> Array:
    """Fraction of samples whose largest logit is the label; scalar float32."""
    return jnp.mean(jnp.argmax(logits, axis=-1) == batch.labels, dtype=jnp.float32)
