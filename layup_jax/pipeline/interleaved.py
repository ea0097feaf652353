"""One compute thread: forward, then backward, again and again. LayUp's default schedule.

pipeline = Interleaved(engine, store, clock, on_update=outbox.ask)
result = pipeline.step(batch, Moment(seed, rank, step))
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from layup_jax.clock import Clock
from layup_jax.engine.engine import Engine, Moment, Tape
from layup_jax.errors import NonFiniteError
from layup_jax.store import ParameterStore
from layup_jax.tree import all_finite
from layup_jax.types import Array, PyTree, SegmentUpdated


class StepResult(NamedTuple):
    """What one training step leaves for the metrics.

    Attributes:
      loss: scalar, possibly still being computed.
      staleness: for each segment, writes by others between its forward read and its own update.
    """

    loss: Array
    staleness: tuple[int, ...]


class _Checkable(NamedTuple):
    """A loss to check, and the tape that can tell where it came from; None once it is gone."""

    step: int
    loss: Array
    tape: Tape | None


class Interleaved:
    """Runs whole steps on the calling thread, updating each segment as soon as its gradient exists.

    The last segment turns round in a single call (forward, VJP and update fused), so that a model of
    one segment is one jitted step.

    Threads: one only. Blocks: while a segment is being written by the communication thread.
    """

    def __init__(
        self,
        engine: Engine,
        store: ParameterStore,
        clock: Clock,
        on_update: Callable[[SegmentUpdated], None],
        before_read: Callable[[int, int], None] | None = None,
    ):
        """Takes what it works on.

        Args:
          engine: of the model.
          store: of the worker.
          clock: the time that updates are given.
          on_update: called right after each segment's update.
          before_read: called with segment and step before a forward pass reads the segment; None
            where nothing has to be merged first.
        """
        self._engine = engine
        self._store = store
        self._clock = clock
        self._on_update = on_update
        self._before_read = before_read
        self._previous: _Checkable | None = None

    def step(self, batch: PyTree, moment: Moment) -> StepResult:
        """Trains on one batch (a record with `inputs`).

        Raises:
          NonFiniteError: the loss of this step, or where dispatch is asynchronous of the step before
            it, is not a finite number.
        """
        self._require_finite(self._previous)
        tape = self._forward(batch, moment)
        loss, cotangent = self._turn(tape, batch)
        if loss.is_ready():  # pyright: ignore[reportAttributeAccessIssue]  # jax.Array has it
            self._require_finite(_Checkable(moment.step, loss, tape))
            self._previous = None
        else:
            self._previous = _Checkable(moment.step, loss, None)
        staleness = [0]
        for segment in reversed(range(len(self._engine) - 1)):
            cotangent, stale = self._backward(tape, segment, cotangent)
            staleness.append(stale)
        return StepResult(loss, tuple(reversed(staleness)))

    def _forward(self, batch: PyTree, moment: Moment) -> Tape:
        records = []
        outputs = batch.inputs
        for segment in range(len(self._engine) - 1):
            self._prepare(segment, moment)
            state, version = self._store.read(segment)
            model_state, passed = self._engine.forward(segment, state, outputs, batch, moment)
            outputs = passed.outputs
            records.append((passed, model_state, version))
        passed, model_states, versions = zip(*records, strict=True) if records else ((), (), ())
        return Tape(moment, passed, model_states, versions, outputs)

    def finish(self) -> None:
        """Checks the last step's loss.

        Raises:
          NonFiniteError: it is not finite.
        """
        self._require_finite(self._previous)

    def _prepare(self, segment: int, moment: Moment) -> None:
        if self._before_read is not None:
            self._before_read(segment, moment.step)

    def _turn(self, tape: Tape, batch: PyTree) -> tuple[Array, list[Array]]:
        last = len(self._engine) - 1
        self._prepare(last, tape.moment)

        def write(state):
            now = self._clock.now()
            after, loss, cotangent = self._engine.turn(state, tape.outputs, batch, tape.moment, now)
            return after, (loss, cotangent)

        (loss, cotangent), _ = self._store.update(last, write)
        self._on_update(SegmentUpdated(last, tape.moment.step))
        return loss, cotangent

    def _backward(
        self, tape: Tape, segment: int, cotangent: list[Array]
    ) -> tuple[list[Array], int]:
        def write(state):
            now = self._clock.now()
            after, inputs = self._engine.backward(
                segment, state, tape.passed[segment], cotangent, now
            )
            return after._replace(model_state=tape.model_states[segment]), inputs

        inputs, version = self._store.update(segment, write)
        self._on_update(SegmentUpdated(segment, tape.moment.step))
        return inputs, version - tape.versions[segment]

    def _require_finite(self, checkable: _Checkable | None) -> None:
        if checkable is None or math.isfinite(float(checkable.loss)):
            return
        first = self._first_non_finite(checkable.tape)
        remedy = "lower the learning rate or clip gradients"
        if checkable.step == 0:
            remedy = "look at the inputs and labels"
        raise NonFiniteError(
            f"the loss must be finite, got {float(checkable.loss)} at step {checkable.step}, first "
            f"non-finite in segment {first} ({self._engine.segments[first].name}); {remedy}"
        )

    def _first_non_finite(self, tape: Tape | None) -> int:
        """The first segment with non-finite outputs; without a tape, with non-finite parameters."""
        if tape is not None:
            values = [passed.outputs for passed in tape.passed]
        else:
            values = [state.params for state in self._store.snapshot()]
        broken = [index for index, tree in enumerate(values) if not all_finite(tree)]
        return broken[0] if broken else len(self._engine) - 1
