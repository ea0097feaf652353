"""Batch statistics made anew for a model that no worker has trained with: the mean of all workers.

reestimate = Reestimation(engine, attempts, reductions, workers=4)
model = reestimate(model, batches, Moment(seed, rank, step))
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np

from layup_jax.attempts import Attempts
from layup_jax.engine.engine import Engine, Moment
from layup_jax.engine.evaluate import Model
from layup_jax.transport.reductions import Reductions
from layup_jax.tree import decode, encode, split_inexact
from layup_jax.types import Array, PyTree, SegmentState

_NUM_BATCHES = 100


class Reestimation:
    """Forward passes in training mode, nothing learned.

    Running statistics move a little with each batch. During the first half of the batches they leave
    what they were; the result is their mean over the second half, steadier than any one of them, and
    over all workers.
    """

    def __init__(self, engine: Engine, attempts: Attempts, reductions: Reductions, workers: int):
        """Takes the engine of the run, and what workers agree and add with."""
        self._engine = engine
        self._attempts = attempts
        self._reductions = reductions
        self._workers = workers

    def __call__(self, model: Model, batches: Iterable[PyTree], moment: Moment) -> Model:
        """The model with statistics of its own. Collective.

        Args:
          model: the same on every worker, on one device.
          batches: this worker's training data; 100 of them are taken.
          moment: names the random numbers (dropout), the same for each batch.

        Returns:
          On one device; the model as it was where an attempt of any worker failed.
        """
        mine = self._attempts.run(functools.partial(self._own, model, batches, moment))
        if not self._attempts.all_well():
            return model
        statistics, rebuild = split_inexact(mine)
        vector = np.array(encode(statistics))
        reduction = self._reductions.ask(vector, vector.size)
        self._reductions.settle()
        mean = jnp.asarray(reduction.total) / self._workers
        return Model(model.params, rebuild(decode(mean, statistics)))

    def _own(self, model: Model, batches: Iterable[PyTree], moment: Moment) -> tuple[PyTree, ...]:
        states = [
            SegmentState(*self._engine.mesh.replicated((params, None, model_state, ())))
            for params, model_state in zip(*model, strict=True)
        ]
        seen = []
        for batch in itertools.islice(batches, _NUM_BATCHES):
            states = self._passed(states, batch, moment)
            seen.append(self._engine.mesh.single(tuple(state.model_state for state in states)))
        return jax.tree.map(_mean, *seen[len(seen) // 2 :])

    def _passed(
        self, states: list[SegmentState], batch: PyTree, moment: Moment
    ) -> list[SegmentState]:
        outputs, after = batch.inputs, []
        for segment, state in enumerate(states):
            model_state, passed = self._engine.advance(segment, state, outputs, batch, moment)
            outputs = passed.outputs
            after.append(state._replace(model_state=model_state))
        return after


def _mean(*values: Array) -> Array:
    """Of numbers; the last of what is counted."""
    if not jnp.issubdtype(values[0].dtype, jnp.inexact):
        return values[-1]
    return jnp.mean(jnp.stack(values), axis=0)
