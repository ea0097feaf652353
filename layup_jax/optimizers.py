"""The shipped optimizers: configurations turned into optax transformations."""

from __future__ import annotations

import jax
import optax

from layup_jax.config import OptimizerConfig
from layup_jax.types import PyTree


def decayed(params: PyTree) -> PyTree:
    """Mask of weight decay: True for matrices and kernels, False for vectors and scalars."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def learning_rate_schedule(config: OptimizerConfig, steps: int | None) -> optax.Schedule | float:
    """Learning rate by step: linear warm-up, then constant or cosine to 0.

    A rate that never changes is a plain number: a schedule would add a step counter to the state.

    Args:
      config: its decay_steps, else `steps`, is the length of the cosine schedule.
      steps: that a worker will train, if known.
    """
    if steps is not None:
        steps = max(steps // config.accumulate_steps, 1)
    rate, warmup = config.learning_rate, config.warmup_steps
    if config.schedule == "cosine":
        length = config.decay_steps or steps
        assert length is not None, "validated() lets no cosine schedule without a length pass"
        return optax.warmup_cosine_decay_schedule(0.0, rate, warmup, max(length, warmup + 1))
    if not warmup:
        return rate
    return optax.linear_schedule(0.0, rate, warmup)


def make_optimizer(config: OptimizerConfig, steps: int | None) -> optax.GradientTransformation:
    """Builds the transformation, which is applied to each segment by itself.

    So clipping is by the norm of one segment's gradient, after accumulation: the mean of so many steps.
    """
    rate = learning_rate_schedule(config, steps)
    if config.name == "adamw":
        update = optax.adamw(rate, weight_decay=config.weight_decay, mask=decayed)
    else:
        update = optax.chain(
            optax.add_decayed_weights(config.weight_decay, mask=decayed)
            if config.weight_decay
            else optax.identity(),
            optax.sgd(rate, momentum=config.momentum or None),
        )
    if config.clip_norm is not None:
        update = optax.chain(optax.clip_by_global_norm(config.clip_norm), update)
    if config.accumulate_steps == 1:
        return update
    return optax.MultiSteps(update, config.accumulate_steps).gradient_transformation()
