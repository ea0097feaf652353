"""The shipped optimizers: configurations turned into optax transformations."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from layup_jax.config import OptimizerConfig
from layup_jax.types import Array, PyTree


def decayed(params: PyTree) -> PyTree:
    """Mask of weight decay: True for matrices and kernels, False for vectors and scalars."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def learning_rate_schedule(config: OptimizerConfig, steps: int | None) -> optax.Schedule | float:
    """Learning rate by update: linear warm-up, then constant, cosine to 0, or falling in steps.

    A rate that never changes is a plain number: a schedule would add a step counter to the state.

    Args:
      config: its decay_steps, else `steps`, is the length of the schedule.
      steps: that a worker will train, if known.
    """
    if steps is not None:
        steps = max(steps // config.accumulate_steps, 1)
    rate, warmup, length = config.learning_rate, config.warmup_steps, config.decay_steps or steps
    if config.schedule == "cosine":
        assert length is not None, "validated() lets no cosine schedule without a length pass"
        return optax.warmup_cosine_decay_schedule(0.0, rate, warmup, max(length, warmup + 1))
    if config.schedule == "step":
        assert length is not None, "validated() lets no schedule in steps without a length pass"
        return _falling(config, length)
    if not warmup:
        return rate
    return optax.linear_schedule(0.0, rate, warmup)


def _falling(config: OptimizerConfig, length: int) -> optax.Schedule:
    """Times `decay_factor` at each of `decay_at`; one that lies in the warm-up counts as well."""
    warmup = config.warmup_steps
    falls = jnp.array([round(fraction * length) for fraction in config.decay_at])

    def rate(count: ArrayLike) -> Array:
        updates = jnp.asarray(count)
        warm = jnp.minimum(1.0, updates / warmup) if warmup else 1.0
        return config.learning_rate * warm * config.decay_factor ** jnp.sum(updates >= falls)

    return rate


class ParameterAverage(NamedTuple):
    """Optimizer state of `average_parameters`.

    Attributes:
      average: like the parameters.
    """

    average: PyTree


def average_parameters(decay: float) -> optax.GradientTransformation:
    """Keeps an exponential moving average of the parameters; the last of a chain.

    Args:
      decay: of the average at each update, in [0, 1); it starts at the initial parameters.
    """

    def init(params: PyTree) -> PyTree:
        return ParameterAverage(jax.tree.map(jnp.copy, params))

    def update(updates: PyTree, state: PyTree, params: PyTree = None) -> tuple[PyTree, PyTree]:
        after = optax.apply_updates(params, updates)
        return updates, ParameterAverage(
            optax.incremental_update(after, state.average, step_size=1 - decay)
        )

    return optax.GradientTransformation(init, update)


def evaluated(params: PyTree, opt_state: PyTree) -> PyTree:
    """What is evaluated of a segment: the average of its parameters if there is one, else these."""

    def is_average(node: object) -> bool:
        return isinstance(node, ParameterAverage)

    found = [each for each in jax.tree.leaves(opt_state, is_leaf=is_average) if is_average(each)]
    return found[0].average if found else params


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
    if config.average_decay is not None:
        update = optax.chain(update, average_parameters(config.average_decay))
    if config.accumulate_steps == 1:
        return update
    return optax.MultiSteps(update, config.accumulate_steps).gradient_transformation()
