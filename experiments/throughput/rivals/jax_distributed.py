"""JAX alone: one jitted step over all processes, gradients averaged by gloo (`jax_distributed`).

Each worker is one process of this program, started by the launcher, with one CPU device. The batch is
sharded over the processes; parameters are the same everywhere, batch statistics each worker's own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
import optax
from jax.experimental import multihost_utils
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from experiments.throughput.rivals.digits import IMAGE_SHAPE, NUM_CLASSES, Samples
from experiments.throughput.rivals.task import Task
from experiments.throughput.rivals.training import Team, report
from layup_jax.data import Batch
from layup_jax.losses import cross_entropy
from layup_jax.models import Segment, conv
from layup_jax.types import Array, PyTree

_AXIS = "workers"
_OPTIMIZER = optax.sgd(0.1, momentum=0.9)
_WAIT_SECONDS = 120  # for another worker, above which it is taken for dead


class State(NamedTuple):
    """What is trained, over the mesh of all processes.

    Attributes:
      params: the same on all workers.
      momentum: of the optimizer, the same on all workers.
      statistics: of batch normalisation, (workers, ...), one row each.
    """

    params: PyTree
    momentum: PyTree
    statistics: PyTree


_SPECS = State(P(), P(), P(_AXIS))


def main(task: Task) -> None:
    """Trains one worker."""
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(
        f"127.0.0.1:{task.port}", task.workers, task.rank, initialization_timeout=_WAIT_SECONDS
    )
    mesh = Mesh(np.array(jax.devices()), (_AXIS,))
    model = conv(IMAGE_SHAPE, NUM_CLASSES)
    segment = model.segment(0, len(model))
    state, train = _initial_state(segment, mesh), _train_step(segment, mesh)
    sharding = NamedSharding(mesh, P(_AXIS))

    def step(samples: Samples) -> None:
        nonlocal state
        parts = (jax.make_array_from_process_local_data(sharding, each) for each in samples)
        state, losses = train(state, Batch(*parts))
        jax.block_until_ready(losses)

    report(task, Team(step, _total, is_synchronous=True))
    jax.distributed.shutdown()


def _initial_state(segment: Segment, mesh: Mesh) -> State:
    params, statistics = segment.init()
    rows = jax.tree.map(lambda leaf: leaf[None], statistics)
    state = State(params, _OPTIMIZER.init(params), rows)
    return multihost_utils.host_local_array_to_global_array(state, mesh, _SPECS)


def _train_step(segment: Segment, mesh: Mesh) -> Callable[[State, Batch], tuple[State, Array]]:
    """The jitted step: state, batch of all workers -> state, loss of each worker."""

    def step(state: State, batch: Batch) -> tuple[State, Array]:
        own = jax.tree.map(lambda leaf: leaf[0], state.statistics)

        def loss_of(params: PyTree) -> tuple[Array, PyTree]:
            logits, after = segment.apply(params, own, batch.inputs, training=True)
            return cross_entropy(logits, batch), after

        (loss, after), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        updates, momentum = _OPTIMIZER.update(_mean(grads), state.momentum)
        params = optax.apply_updates(state.params, updates)
        rows = jax.tree.map(lambda leaf: leaf[None], after)
        return State(params, momentum, rows), loss[None]

    sharded = jax.shard_map(
        step,
        mesh=mesh,
        in_specs=(_SPECS, P(_AXIS)),
        out_specs=(_SPECS, P(_AXIS)),
        check_vma=False,  # gradients are averaged in `_mean`, not by differentiation
    )
    return jax.jit(sharded, donate_argnums=0)


def _mean(grads: PyTree) -> PyTree:
    """Over workers, in one message: one for each leaf takes several times as long."""
    flat, restored = ravel_pytree(grads)
    return restored(jax.lax.psum(flat, _AXIS) / jax.lax.axis_size(_AXIS))


def _total(number: float) -> float:
    return float(np.sum(multihost_utils.process_allgather(np.float32(number))))


if __name__ == "__main__":
    main(Task.from_arguments(sys.argv[1:]))
