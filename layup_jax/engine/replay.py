"""A recorded run again, on one thread, to the last bit: how a bug of an asynchronous run is debugged.

states = Replay(engine, recording, draws).run(batches)
assert digest(states) == expected
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from layup_jax.draws import Draws
from layup_jax.engine.carried import Carried
from layup_jax.engine.engine import Engine, Moment
from layup_jax.engine.program import Passed
from layup_jax.engine.recording import READS, Event, Recording
from layup_jax.engine.residuals import Residuals
from layup_jax.engine.wire import updated
from layup_jax.models.loans import Cotangent
from layup_jax.types import PyTree, SegmentState

Observer = Callable[[Event, SegmentState], None]


class _Step:
    """A step under way: the forward pass so far, and how far the backward pass has come."""

    def __init__(self, batch: PyTree, segments: int):
        self.batch = batch
        self.outputs = batch.inputs
        self.passed: list[Passed] = []
        self.carried: list[Carried] = []
        self.cotangent: Cotangent = None
        self.position = segments - 1  # the next segment of the backward pass
        self.gradients: dict[int, PyTree] = {}


class _Versions:
    """Of one segment: the newest, and those that will still be read."""

    def __init__(self, state: SegmentState, reads: Counter[int]):
        self._states = {0: state}
        self._newest = 0
        self._reads = reads

    @property
    def newest(self) -> SegmentState:
        return self._states[self._newest]

    def read(self, version: int) -> SegmentState:
        state = self._states[version]
        self._reads[version] -= 1
        if not self._reads[version] and version != self._newest:
            del self._states[version]
        return state

    def write(self, after: SegmentState) -> None:
        if after is self.newest:
            return
        if not self._reads[self._newest]:
            del self._states[self._newest]
        self._newest += 1
        self._states[self._newest] = after


class Replay:
    """Runs the events of a recording in their order.

    Threads: one. Holds old versions only as long as a recorded read still needs them.
    """

    def __init__(self, engine: Engine, recording: Recording, draws: Draws):
        """Takes an engine of the same model, partition and strategy, and whose run it was."""
        self._engine = engine
        self._recording = recording
        self._draws = draws
        reads = [Counter[int]() for _ in range(len(engine))]
        for event in recording.events:
            if event.kind in READS:
                reads[event.segment][event.version] += 1
        self._segments = [_Versions(*each) for each in zip(engine.init(), reads, strict=True)]
        self._last = {event.step: index for index, event in enumerate(recording.events)}
        self._own: dict[int, list[PyTree]] = {}
        self._steps: dict[int, _Step] = {}
        self._fetched = 0

    def run(
        self, batches: Iterator[PyTree], observe: Observer | None = None
    ) -> tuple[SegmentState, ...]:
        """Runs everything.

        Args:
          batches: the worker's, from its first step on.
          observe: called after each event with it and the newest state of its segment.

        Returns:
          The final states.
        """
        for index, event in enumerate(self._recording.events):
            if event.step >= 0:
                self._fetch(batches, event.step)
            getattr(self, f"_{event.kind}")(event)
            if observe is not None:
                observe(event, self.newest(event.segment))
            if index == self._last[event.step]:
                self._steps.pop(event.step, None)
        return tuple(self.newest(segment) for segment in range(len(self._engine)))

    def newest(self, segment: int) -> SegmentState:
        """The state of a segment after the events so far."""
        return self._segments[segment].newest

    def _fetch(self, batches: Iterator[PyTree], step: int) -> None:
        while self._fetched <= step:
            self._steps[self._fetched] = _Step(next(batches), len(self._engine))
            self._fetched += 1

    def _read(self, event: Event) -> SegmentState:
        return self._segments[event.segment].read(event.version)

    def _moment(self, event: Event) -> Moment:
        return Moment(*self._draws, event.step)

    def _forward(self, event: Event) -> None:
        self._pass_through(event, self._engine.forward)

    def _advance(self, event: Event) -> None:
        self._pass_through(event, self._engine.advance)

    def _pass_through(self, event: Event, run: Callable) -> None:
        step, state = self._steps[event.step], self._read(event)
        model_state, passed = run(
            event.segment, state, step.outputs, step.batch, self._moment(event)
        )
        step.outputs = passed.outputs
        step.passed.append(passed)
        step.carried.append(Carried(state.model_state, model_state))

    def _linearise(self, event: Event) -> None:
        step, state = self._steps[event.step], self._read(event)
        self._skip_to(event)
        passed = step.passed[event.segment]
        gradient, step.cotangent = self._engine.gradient_at(
            event.segment, state, passed, step.cotangent, self._moment(event)
        )
        step.gradients[event.segment] = gradient
        step.position = event.segment - 1

    def _apply(self, event: Event) -> None:
        step = self._steps[event.step]
        if event.segment not in step.gradients:
            self._skip_to(event)
            passed = step.passed[event.segment]
            gradient, step.cotangent = self._engine.gradient(event.segment, passed, step.cotangent)
            step.gradients[event.segment] = gradient
            step.position = event.segment - 1
        after = self._engine.apply(
            event.segment,
            self.newest(event.segment),
            step.gradients.pop(event.segment),
            event.now,
            self._own_states(event.thread),
        )
        self._segments[event.segment].write(step.carried[event.segment].onto(after))

    def _own_states(self, thread: int) -> list[PyTree] | None:
        if thread < 0:
            return None
        if thread not in self._own:
            self._own[thread] = self._engine.fresh_opt_states()
        return self._own[thread]

    def _skip_to(self, event: Event) -> None:
        """The backward pass of segments that were not updated in this step."""
        step = self._steps[event.step]
        while step.position > event.segment:
            passed = step.passed[step.position]
            step.cotangent = self._engine.cotangent(step.position, passed, step.cotangent)
            step.position -= 1

    def _turn(self, event: Event) -> None:
        step = self._steps[event.step]
        after, _, step.cotangent = self._engine.turn(
            self.newest(event.segment), step.outputs, step.batch, self._moment(event), event.now
        )
        step.position = event.segment - 1
        self._segments[event.segment].write(after)

    def _backward(self, event: Event) -> None:
        own = self._own_states(event.thread)
        self._update(event, self._engine.backward, event.now, own)

    def _backward_at(self, event: Event) -> None:
        self._update(event, self._engine.backward_at, self._moment(event), event.now)

    def _update(self, event: Event, run: Callable, *arguments) -> None:
        """VJP and update in one call."""
        self._skip_to(event)
        step, segment = self._steps[event.step], event.segment
        after, step.cotangent = run(
            segment, self.newest(segment), step.passed[segment], step.cotangent, *arguments
        )
        step.position = segment - 1
        self._segments[segment].write(step.carried[segment].onto(after))

    def _outgoing(self, event: Event) -> None:
        self._give(event, self._engine.wire.outgoing)

    def _contribution(self, event: Event) -> None:
        self._give(event, self._engine.wire.contribution)

    def _give(self, event: Event, compiled: Callable) -> None:
        given = self._given(event)
        changed, _ = compiled(given, event.now)
        self._merge(event, given, changed)

    def _incoming(self, event: Event) -> None:
        given = self._given(event)
        self._merge(event, given, self._received(event, given))

    def _gathered(self, event: Event) -> None:
        given = self._given(event, with_optimizer=True)
        self._merge(event, given, self._received(event, given))

    def _average(self, event: Event) -> None:
        given = self._given(event, with_optimizer=True)
        self._merge(event, given, self._summed(event, given))

    def _background(self, event: Event) -> None:
        given = self._given(event)
        self._merge(event, given, self._summed(event, given))

    def _given(self, event: Event, *, with_optimizer: bool = False) -> SegmentState:
        newest = self.newest(event.segment)
        return self._engine.wire.given(newest, with_optimizer=with_optimizer)

    def _summed(self, event: Event, given: SegmentState) -> Residuals:
        total = self._recording.messages[event.message].received
        return self._engine.wire.average(given, total, event.now)

    def _received(self, event: Event, given: SegmentState) -> Residuals:
        message = self._recording.messages[event.message]
        return self._engine.wire.incoming(given, message.sent, message.received, event.now)

    def _merge(self, event: Event, given: SegmentState, changed: Residuals) -> None:
        self._segments[event.segment].write(updated(self.newest(event.segment), changed, given))
