"""Asynchronous decentralized training with layer-wise updates, in JAX and Flax.

    task = layup_jax.Task(layup_jax.LayeredModel([...]), layup_jax.cross_entropy, optax.sgd(0.1))
    run = layup_jax.run_local(task, (inputs, labels), num_workers=4)
    run.summary.samples_per_second, run.model

Importing this package imports neither MPI nor data or plotting packages; those load where they are used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from layup_jax.config import RunConfig, validated
    from layup_jax.data import Batch
    from layup_jax.errors import LayupError
    from layup_jax.losses import accuracy, cross_entropy
    from layup_jax.models import LayeredModel
    from layup_jax.run import run_local
    from layup_jax.task import Task
    from layup_jax.training import run_mpi

__all__ = [
    "Batch",
    "LayeredModel",
    "LayupError",
    "RunConfig",
    "Task",
    "accuracy",
    "cross_entropy",
    "run_local",
    "run_mpi",
    "validated",
]
_HOMES = {
    "Batch": "data",
    "LayeredModel": "models",
    "LayupError": "errors",
    "RunConfig": "config",
    "Task": "task",
    "accuracy": "losses",
    "cross_entropy": "losses",
    "run_local": "run",
    "run_mpi": "training",
    "validated": "config",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'layup_jax' has no attribute '{name}'")
    return getattr(importlib.import_module(f"layup_jax.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
