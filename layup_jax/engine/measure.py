"""What is measured at start: the partition `auto`, and what updates cost.

Of the partition: neighbours are fused until a segment's work is worth its own dispatch. Measured on one
real batch are what a jitted call costs when there is nothing to do, and what the forward and backward of
each layer cost. A segment must take at least `WORTH` times its dispatches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from layup_jax.engine.engine import Engine, Moment
from layup_jax.engine.sharding import LocalMesh
from layup_jax.models.partition import Partition, fused, in_words
from layup_jax.tree import num_parameters
from layup_jax.types import PyTree

WORTH = 20.0
_REPEATS = 5


class Measurement(NamedTuple):
    """What the choice rests on.

    Attributes:
      partition: the choice.
      dispatch_seconds: of one call with the arguments of a small segment and nothing to compute.
      layer_seconds: forward plus backward of each layer.
    """

    partition: Partition
    dispatch_seconds: float
    layer_seconds: tuple[float, ...]

    def __str__(self) -> str:
        return (
            f"{in_words(self.partition)} (a dispatch takes "
            f"{self.dispatch_seconds * 1e6:.0f} us, a layer "
            f"{min(self.layer_seconds) * 1e6:.0f} to {max(self.layer_seconds) * 1e6:.0f} us)"
        )


def _fastest(run: Callable[[], PyTree]) -> float:
    jax.block_until_ready(run())
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - start)
    return min(times)


def _dispatch_seconds(mesh: LocalMesh) -> float:
    arguments = mesh.replicated([jnp.zeros(8) for _ in range(8)])
    add = mesh.jit(lambda values: [value + 1 for value in values])
    return _fastest(lambda: add(arguments))


def measure_partition(engine: Engine, batch: PyTree, emulated_seconds: float = 0.0) -> Measurement:
    """Chooses a partition for one machine, model and batch.

    Args:
      engine: partitioned by layer; its compiled functions are used, its states made afresh.
      batch: a record with `inputs`, as in training.
      emulated_seconds: that layers with parameters take on top, forward and backward.
    """
    dispatch = _dispatch_seconds(engine.mesh)
    states, outputs, passed = engine.init(), batch.inputs, []
    seconds = [each.num_parametric * emulated_seconds for each in engine.segments]
    for index, state in enumerate(states):

        def forward(index=index, state=state, outputs=outputs):
            return engine.forward(index, state, outputs, batch, Moment(0, 0, 0))

        seconds[index] += _fastest(forward)
        passed.append(forward()[1])
        outputs = passed[-1].outputs
    cotangent = None
    for index in reversed(range(len(engine))):
        state = [states[index]]

        def backward(index=index, state=state, cotangent=cotangent):
            state[0], inputs = engine.backward(index, state[0], passed[index], cotangent, 0.0)
            return state[0], inputs

        seconds[index] += _fastest(backward)
        cotangent = backward()[1]
    return Measurement(choose(seconds, dispatch), dispatch, tuple(seconds))


def measure_update(engine: Engine) -> float:
    """Processor time of an update alone, in seconds; of all segments, from that of the largest one.

    Backward calls have updates in them, so there is nothing that could be timed in training. An update is
    elementwise: what the others take goes by their parameters, and only one has to be compiled.

    Args:
      engine: whose strategy updates; its states are made afresh.
    """
    states = engine.init()
    sizes = [num_parameters(state.params) for state in states]
    largest = sizes.index(max(sizes))
    state = states[largest]
    gradient = jax.tree.map(jnp.zeros_like, state.params)
    seconds = []
    for _ in range(1 + _REPEATS):  # the first one compiles
        start = time.process_time()
        state = jax.block_until_ready(engine.apply(largest, state, gradient, 0.0))
        seconds.append(time.process_time() - start)
    return min(seconds) * sum(sizes) / max(sizes[largest], 1)


def choose(layer_seconds: Sequence[float], dispatch_seconds: float) -> Partition:
    """Fuses neighbours until each segment takes `WORTH` times its two dispatches."""
    return fused(layer_seconds, 2 * WORTH * dispatch_seconds)
