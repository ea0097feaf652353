"""Forward and backward passes for threads that share a store, and how long they take.

passes = Passes(parts, weights="stored")
tape = passes.forward(work)                           # any thread
result = passes.backward(tape, turn)                  # any other
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from layup_jax.engine.carried import Carried
from layup_jax.engine.engine import Moment, Recorded, Tape
from layup_jax.engine.program import Passed
from layup_jax.engine.recording import Event
from layup_jax.models.loans import Cotangent
from layup_jax.pipeline.base import Parts, PassTimes, StepResult, Work
from layup_jax.pipeline.devices import Placement
from layup_jax.pipeline.finite import is_known, require_finite
from layup_jax.pipeline.stopwatch import Stopwatch
from layup_jax.types import Array, PyTree, SegmentState, SegmentUpdated

Write = Callable[[SegmentState], tuple[SegmentState, Cotangent]]


class Turn(NamedTuple):
    """How one backward pass is done.

    Attributes:
      number: of backward passes that this worker began before.
      thread: whose it is, among its like.
      chunk: segments to update; None for all. Those below it are not even differentiated.
      own: the thread's optimizer states by segment; None uses the store's.
    """

    number: int
    thread: int = 0
    chunk: range | None = None
    own: list[PyTree] | None = None

    @property
    def owner(self) -> int:
        """Of `own`; -1 without."""
        return -1 if self.own is None else self.thread


class Passes:
    """Passes of one worker, and how long they take.

    Threads: any. Blocks: while a segment is being written by another thread.
    """

    def __init__(self, parts: Parts, weights: str, placement: Placement | None = None):
        """Takes what to work on.

        Args:
          parts: of the worker.
          weights: stored | live; the parameters at which a VJP is taken: those of the forward pass, or
            the newest, with the inputs of the forward pass.
          placement: of forward and backward threads on devices; None leaves everything where it is.
        """
        self._parts = parts
        self._engine = parts.engine
        self._delays = parts.delays
        self._is_live = weights == "live"
        self._placement = placement or Placement()
        self._is_apart = len(parts.engine) == 1 or self._placement.is_set
        self._lock = threading.Lock()
        self._watch = Stopwatch(parts.store)
        self._forward_total, self._forwards = 0.0, 0
        self._backward_total, self._backwards = 0.0, 0
        self._started_total = np.zeros(len(parts.engine))
        self._updated_total = np.zeros(len(parts.engine))
        self._updates = np.zeros(len(parts.engine))

    def forward(self, work: Work, thread: int = 0) -> Tape:
        """A whole forward pass, loss included.

        Raises:
          NonFiniteError: the loss is known already, and not finite.
        """
        start = time.perf_counter()
        self._watch.start()
        kind = "advance" if self._is_live else "forward"
        run = self._engine.advance if self._is_live else self._engine.forward
        device = self._placement.forward_device(thread)
        batch = self._placement.moved(work.batch, device)
        tape = Tape(work.moment, [])
        outputs, moment = batch.inputs, work.moment
        for segment in range(len(self._engine)):
            state, version = self._parts.store.read(segment)
            self._parts.record(Event(kind, segment, moment.step, version=version))
            mirrored = self._placement.mirrored(segment, state, device)
            model_state, passed = self._delays.slowed(
                run, segment, mirrored, outputs, batch, moment
            )
            self._delays.in_forward(segment)
            outputs = passed.outputs
            carried = Carried(state.model_state, self._placement.at_home(model_state))
            tape.records.append(Recorded(passed, carried, version))
        if is_known(outputs):
            self._check(tape)
        self._watch.lap("forward")
        with self._lock:
            self._forward_total += time.perf_counter() - start
            self._forwards += 1
        return tape

    def backward(self, tape: Tape, turn: Turn, samples: int) -> StepResult:
        """A backward pass that updates each segment as soon as its gradient exists; uses up the tape.

        Waits for the loss where dispatch is asynchronous, so that what is not finite is never applied.

        Raises:
          NonFiniteError: the loss is not finite, and was not known before.
        """
        loss = self._check(tape)
        start = time.perf_counter()
        self._watch.start()
        segments = range(len(self._engine))
        chunk = segments if turn.chunk is None else turn.chunk
        staleness: list[int | None] = [None] * len(segments)
        times = []
        cotangent: Cotangent = None
        device = self._placement.backward_device(turn.thread)
        for segment in reversed(segments[chunk.start :]):
            began = time.perf_counter() - start
            record = tape.records.pop()
            record = record._replace(passed=self._placement.moved(record.passed, device))
            cotangent = self._placement.moved(cotangent, device)
            self._delays.in_backward(segment)
            if segment not in chunk:
                cotangent = self._delays.slowed(
                    self._engine.cotangent, segment, record.passed, cotangent
                )
                continue
            update = self._apart if self._is_apart else self._at_once
            cotangent, version = update(segment, record, cotangent, tape.moment, turn)
            staleness[segment] = version - record.version
            times.append((segment, began, time.perf_counter() - start))
        self._watch.lap("backward")
        self._count(time.perf_counter() - start, times)
        return StepResult(loss, tuple(staleness), samples)

    def _at_once(
        self, segment: int, record: Recorded, cotangent: Cotangent, moment: Moment, turn: Turn
    ) -> tuple[Cotangent, int]:
        """VJP and update in one call."""
        passed, carried, _ = record

        def write(state: SegmentState) -> tuple[SegmentState, Cotangent]:
            now = self._parts.clock.now()
            event = Event("backward", segment, moment.step, now=now, thread=turn.owner)
            if self._is_live:
                self._parts.record(event._replace(kind="backward_at"))
                after, previous = self._engine.backward_at(
                    segment, state, passed, cotangent, moment, now
                )
            else:
                self._parts.record(event)
                after, previous = self._engine.backward(
                    segment, state, passed, cotangent, now, turn.own
                )
            return carried.onto(after), previous

        return self._updated(segment, write, turn)

    def _apart(
        self, segment: int, record: Recorded, cotangent: Cotangent, moment: Moment, turn: Turn
    ) -> tuple[Cotangent, int]:
        """VJP on this thread's device, update where the parameters live."""
        gradient, previous = self._delays.slowed(
            self._gradient, segment, record.passed, cotangent, moment, turn
        )
        gradient = self._placement.at_home(gradient)

        def write(state: SegmentState) -> tuple[SegmentState, Cotangent]:
            now = self._parts.clock.now()
            self._parts.record(Event("apply", segment, moment.step, now=now, thread=turn.owner))
            after = self._engine.apply(segment, state, gradient, now, turn.own)
            return record.carried.onto(after), previous

        return self._updated(segment, write, turn)

    def _gradient(
        self, segment: int, passed: Passed, cotangent: Cotangent, moment: Moment, turn: Turn
    ) -> tuple[PyTree, Cotangent]:
        if not self._is_live:
            return self._engine.gradient(segment, passed, cotangent)
        state, version = self._parts.store.read(segment)
        self._parts.record(Event("linearise", segment, moment.step, version=version))
        state = self._placement.mirrored(
            segment, state, self._placement.backward_device(turn.thread)
        )
        return self._engine.gradient_at(segment, state, passed, cotangent, moment)

    def _updated(self, segment: int, write: Write, turn: Turn) -> tuple[Cotangent, int]:
        if self._parts.settle is not None:
            self._watch.lap("backward")
            self._parts.settle(segment, turn.number)
            self._watch.lap("communication")
        previous, version = self._delays.update(self._parts.store, segment, write)
        self._watch.lap("backward")
        self._parts.on_update(SegmentUpdated(segment, turn.number))
        self._watch.lap("communication")
        return previous, version

    def _check(self, tape: Tape) -> Array:
        """The loss, if it is finite."""
        values = [record.passed.outputs for record in tape.records]
        require_finite(values[-1], tape.moment.step, self._engine, values)
        return values[-1]

    def _count(self, seconds: float, times: list[tuple[int, float, float]]) -> None:
        with self._lock:
            self._backward_total += seconds
            self._backwards += 1
            for segment, began, updated in times:
                self._started_total[segment] += began
                self._updated_total[segment] += updated
                self._updates[segment] += 1

    def spent_seconds(self) -> dict[str, float]:
        """See `PipelineStatistics`."""
        return self._watch.seconds()

    def times(self) -> PassTimes | None:
        """Means so far; None before the first step has ended."""
        with self._lock:
            if not self._backwards:
                return None
            updates = np.maximum(self._updates, 1)
            return PassTimes(
                forward_seconds=self._forward_total / self._forwards,
                backward_seconds=self._backward_total / self._backwards,
                started_seconds=tuple((self._started_total / updates).tolist()),
                updated_seconds=tuple((self._updated_total / updates).tolist()),
            )
