"""Losses: functions of the last layer's outputs and the batch, to a scalar."""

from __future__ import annotations

import jax.numpy as jnp
import optax

from layup_jax.errors import DataError
from layup_jax.types import Array, PyTree


def cross_entropy(logits: Array, batch: PyTree) -> Array:
    """Mean softmax cross-entropy.

    Args:
      logits: (..., classes) float.
      batch: a record with `labels`, integers of shape (...), or probabilities of shape (..., classes).

    Returns:
      Scalar, in nats; NaN where a label is none of the classes.

    Raises:
      DataError: labels of another shape.
    """
    if _are_probabilities(batch.labels, logits):
        return jnp.mean(optax.softmax_cross_entropy(logits, batch.labels))
    classes = logits.shape[-1]
    labels = jnp.where(batch.labels < 0, classes, batch.labels)  # or they count from the last class
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))


def accuracy(logits: Array, batch: PyTree) -> Array:
    """Fraction of samples whose largest logit is the label, or the likeliest one; scalar float32."""
    labels = batch.labels
    if _are_probabilities(labels, logits):
        labels = jnp.argmax(labels, axis=-1)
    return jnp.mean(jnp.argmax(logits, axis=-1) == labels, dtype=jnp.float32)


def _are_probabilities(labels: Array, logits: Array) -> bool:
    if labels.shape not in (logits.shape, logits.shape[:-1]):
        raise DataError(
            f"labels must have shape {logits.shape[:-1]}, or {logits.shape} as probabilities, got "
            f"{labels.shape}; reshape them"
        )
    return labels.shape == logits.shape
