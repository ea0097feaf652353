"""One compute thread: forward, then backward, again and again. LayUp's default schedule.

pipeline = Interleaved(Parts(engine, store, clock, on_update=outbox.ask))
for result in pipeline.run(works):
    ...
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from layup_jax.engine.carried import Carried
from layup_jax.engine.engine import Moment, Recorded, Tape
from layup_jax.engine.recording import Event
from layup_jax.models.loans import Cotangent
from layup_jax.pipeline.base import Parts, PipelineStatistics, StepResult, Work
from layup_jax.pipeline.finite import is_known, require_finite
from layup_jax.pipeline.stopwatch import Stopwatch
from layup_jax.types import Array, PyTree, SegmentUpdated


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

    def __init__(self, parts: Parts):
        """Takes what it works on."""
        self._parts = parts
        self._engine = parts.engine
        self._store = parts.store
        self._delays = parts.delays
        self._watch = Stopwatch(parts.store)
        self._previous: _Checkable | None = None
        self._thread: int | None = None

    def warm_up(self, work: Work) -> int:
        """Two steps: the second has the states that the first made."""
        return len(list(Interleaved(self._parts.quiet()).run([work, work])))

    def run(self, works: Iterable[Work]) -> Iterator[StepResult]:
        """Trains on one work after the other.

        Raises:
          NonFiniteError: the loss of a step, or where dispatch is asynchronous of the step before
            it, is not a finite number.
        """
        self._thread = threading.get_ident()
        for work in works:
            yield self.step(work)
        self.finish()

    def close(self) -> None:
        """Nothing to end."""

    def describe(self) -> str:
        """Its name."""
        return "interleaved"

    def statistics(self) -> PipelineStatistics:
        """Of the thread that ran it."""
        threads = set() if self._thread is None else {self._thread}
        return PipelineStatistics(self._store.waited_seconds(threads), self._watch.seconds())

    def step(self, work: Work) -> StepResult:
        """One work of `run`."""
        self.finish()
        self._delays.before_forward(work.moment.step)
        self._watch.start()
        tape = Tape(work.moment, [])
        outputs = self._forward(tape, work.batch)
        self._delays.before_backward(work.moment.step)
        self._watch.start()
        loss, cotangent = self._turn(work, outputs)
        del outputs
        if is_known(loss):
            self._require_finite(_Checkable(work.moment.step, loss, tape))
        else:
            self._previous = _Checkable(work.moment.step, loss, None)
        staleness = [0]
        for segment in reversed(range(len(self._engine) - 1)):
            cotangent, stale = self._backward(tape, segment, cotangent)
            staleness.append(stale)
        return StepResult(loss, tuple(reversed(staleness)), work.samples)

    def _forward(self, tape: Tape, batch: PyTree) -> PyTree:
        """Records all segments but the last, and returns that one's inputs."""
        outputs, moment = batch.inputs, tape.moment
        for segment in range(len(self._engine) - 1):
            self._prepare(segment, moment)
            state, version = self._store.read(segment)
            self._parts.record(Event("forward", segment, moment.step, version=version))
            model_state, passed = self._delays.slowed(
                self._engine.forward, segment, state, outputs, batch, moment
            )
            self._delays.in_forward(segment)
            outputs = passed.outputs
            carried = Carried(state.model_state, model_state)
            tape.records.append(Recorded(passed, carried, version))
            self._watch.lap("forward")
        self._prepare(len(self._engine) - 1, moment)
        self._delays.in_forward(len(self._engine) - 1)  # computed in `_turn`
        self._watch.lap("forward")
        return outputs

    def _prepare(self, segment: int, moment: Moment) -> None:
        if self._parts.settle is not None:
            self._parts.settle(segment, moment.step)
            self._watch.lap("communication")

    def _turn(self, work: Work, inputs: PyTree) -> tuple[Array, Cotangent]:
        last, moment = len(self._engine) - 1, work.moment

        def write(state):
            now = self._parts.clock.now()
            self._parts.record(Event("turn", last, moment.step, now=now))
            after, loss, cotangent = self._engine.turn(state, inputs, work.batch, moment, now)
            return after, (loss, cotangent)

        self._delays.in_backward(last)
        (loss, cotangent), _ = self._delays.update(self._store, last, write)
        self._watch.lap("turn")
        self._tell(SegmentUpdated(last, moment.step))
        return loss, cotangent

    def _backward(self, tape: Tape, segment: int, cotangent: Cotangent) -> tuple[Cotangent, int]:
        passed, carried, read = tape.records.pop()

        def write(state):
            now = self._parts.clock.now()
            self._parts.record(Event("backward", segment, tape.moment.step, now=now))
            after, inputs = self._engine.backward(segment, state, passed, cotangent, now)
            return carried.onto(after), inputs

        self._delays.in_backward(segment)
        inputs, version = self._delays.update(self._store, segment, write)
        self._watch.lap("backward")
        self._tell(SegmentUpdated(segment, tape.moment.step))
        return inputs, version - read

    def _tell(self, event: SegmentUpdated) -> None:
        self._parts.on_update(event)
        self._watch.lap("communication")

    def finish(self) -> None:
        """Checks the last step's loss, if that was not known yet."""
        if self._previous is not None:
            self._require_finite(self._previous)
            self._previous = None

    def _require_finite(self, checkable: _Checkable) -> None:
        tape = checkable.tape
        if tape is not None:
            values = [record.passed.outputs for record in tape.records]
        else:
            values = [state.params for state in self._store.snapshot()]
        require_finite(checkable.loss, checkable.step, self._engine, values)
