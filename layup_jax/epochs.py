"""What a configuration in epochs and for a global batch means to so many workers.

    config = for_workers(config, num_workers=8, num_samples=50_000)
    config.stop.steps, config.optimizer.learning_rate     # of each worker

Papers give epochs over all data, and a learning rate that grows with the global batch; a worker counts
steps and updates on its own batches.
"""

from __future__ import annotations

import dataclasses

from layup_jax.config import RunConfig
from layup_jax.errors import ConfigError
from layup_jax.strategies import asks


def counts_epochs(config: RunConfig) -> bool:
    """Whether the number of samples matters to `for_workers`."""
    return config.stop.epochs is not None or config.optimizer.warmup_epochs > 0


def for_workers(config: RunConfig, *, num_workers: int, num_samples: int | None) -> RunConfig:
    """Replaces epochs by steps, and the learning rate by the one for the global batch.

        steps = epochs * floor(floor(samples / workers) / batch)
        rate' = rate * workers * batch * accumulated / reference

    The factor is the same for averaged gradients and for gossip: the mean model moves by the rate times
    the mean of the workers' gradients either way. Workers that never communicate do not count together.
    What comes back is unchanged by another call.

    Args:
      config: validated.
      num_workers: of the run.
      num_samples: of the training split; None if that is not known.

    Raises:
      ConfigError: epochs are asked for, and the samples are not known or do not fill a batch.

    References:
      Goyal et al., arXiv 1706.02677, section 2.1. Differs from it: the warm-up begins at 0.
    """
    config = _with_rate(config, num_workers)
    if not counts_epochs(config):
        return config
    optimizer, stop = config.optimizer, config.stop
    per_epoch = _steps_of_an_epoch(config, num_workers, num_samples)
    steps = stop.steps
    if stop.epochs is not None:
        steps = min(max(1, round(stop.epochs * per_epoch)), steps or 2**63)
    warmup = optimizer.warmup_steps
    if optimizer.warmup_epochs:
        warmup = round(optimizer.warmup_epochs * per_epoch / optimizer.accumulate_steps)
    return dataclasses.replace(
        config,
        stop=dataclasses.replace(stop, steps=steps, epochs=None),
        optimizer=dataclasses.replace(optimizer, warmup_steps=warmup, warmup_epochs=0.0),
    )


def _with_rate(config: RunConfig, num_workers: int) -> RunConfig:
    optimizer = config.optimizer
    if optimizer.reference_batch is None:
        return config
    together = 1 if asks(config.strategy) is None else num_workers
    batch = together * config.batch_size * optimizer.accumulate_steps
    rate = optimizer.learning_rate * batch / optimizer.reference_batch
    scaled = dataclasses.replace(optimizer, learning_rate=rate, reference_batch=None)
    return dataclasses.replace(config, optimizer=scaled)


def _steps_of_an_epoch(config: RunConfig, num_workers: int, num_samples: int | None) -> int:
    if num_samples is None:
        raise ConfigError(
            "epochs need data whose number of samples is known, got documents or a function; set "
            "config.stop.steps and config.optimizer.warmup_steps in their place"
        )
    steps = num_samples // num_workers // config.batch_size
    if steps == 0:
        raise ConfigError(
            f"an epoch must have a batch of {config.batch_size} for each of {num_workers} workers, got "
            f"{num_samples} samples; lower config.batch_size or use fewer workers"
        )
    return steps
