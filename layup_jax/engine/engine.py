"""A model cut into segments, each with its compiled functions; identical segments share them.

engine = Engine(model, partition, loss, strategy)
states = engine.init()
model_state, passed = engine.forward(0, states[0], batch.inputs, batch, Moment(seed, rank, step))
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from layup_jax.engine.carried import Carried
from layup_jax.engine.evaluate import Evaluator
from layup_jax.engine.numerics import PLAIN, Numerics
from layup_jax.engine.program import Draw, LossFunction, Passed, SegmentProgram
from layup_jax.engine.wire import Wire, WireOptions
from layup_jax.losses import accuracy
from layup_jax.models.layers import LayeredModel
from layup_jax.models.loans import Cotangent, Loans
from layup_jax.strategies.base import Strategy
from layup_jax.types import Array, PyTree, SegmentState


class Moment(NamedTuple):
    """A step of a worker: what its random numbers are drawn from."""

    seed: int
    rank: int
    step: int


class Recorded(NamedTuple):
    """What the forward pass of one segment leaves.

    Attributes:
      passed: what its VJP needs.
      carried: what the step makes of its model state.
      version: of the segment's state that was read.
    """

    passed: Passed
    carried: Carried
    version: int


class Tape(NamedTuple):
    """What one forward pass leaves for its backward pass.

    The backward pass takes segments off its end, so that each one's arrays are freed as soon as they were
    used: memory falls while it runs.

    Attributes:
      moment: the step.
      records: of every segment but a turned one, in order.
    """

    moment: Moment
    records: list[Recorded]


class Engine:
    """Runs single segments; who runs which one when is the pipeline's business.

    Holds no training state, so workers of one process share an engine and what it has compiled.
    Threads: any.

    Attributes:
      segments: the layers of each segment.
      strategy: the algorithm.
      wire: the compiled functions of its messages.
      evaluator: loss and metric of whole models, on one device.
      mesh: devices that share each batch; states are `replicated` over them.
      compiling: held by a worker that calls everything for the first time, so that the others of its
        process find it compiled.
    """

    def __init__(
        self,
        model: LayeredModel,
        partition: Sequence[tuple[int, int]],
        loss: LossFunction,
        strategy: Strategy,
        metric: LossFunction = accuracy,
        numerics: Numerics = PLAIN,
        messages: WireOptions | None = None,
    ):
        """Builds one program for every kind of segment; compilation happens at first use.

        Args:
          model: the layers.
          partition: (start, stop) of each segment, as `partition_layers` returns it.
          loss: loss(outputs of the last layer, batch) -> scalar.
          strategy: its `apply_gradient` is compiled into the backward calls.
          metric: metric(outputs of the last layer, batch) -> scalar, for evaluation.
          numerics: precision, what forward passes keep, and on which devices.
          messages: what they are made of.

        Raises:
          ConfigError: messages of a kind that the strategy does not send.
        """
        self.segments = tuple(model.segment(start, stop) for start, stop in partition)
        self.strategy = strategy
        self._numerics = numerics
        self.mesh = numerics.mesh
        self._loans = Loans(self.segments)
        self.wire = Wire(strategy, self.mesh, messages)
        self.evaluator = Evaluator(self.segments, loss, metric, numerics)
        self.compiling = threading.Lock()
        shared: dict[tuple, SegmentProgram] = {}
        self._programs = tuple(
            self._program(shared, index, loss) for index in range(len(self.segments))
        )

    def __len__(self) -> int:
        return len(self.segments)

    def _program(
        self, shared: dict[tuple, SegmentProgram], index: int, loss: LossFunction
    ) -> SegmentProgram:
        segment, first = self.segments[index], index == 0
        head = loss if index == len(self.segments) - 1 else None
        if (segment, first, head) not in shared:
            shared[segment, first, head] = SegmentProgram(
                segment,
                self.strategy,
                loss=head,
                first=first,
                donate=self.strategy.asks is None,
                numerics=self._numerics,
            )
        return shared[segment, first, head]

    def init(self) -> tuple[SegmentState, ...]:
        """The initial state of every segment: the layers' own values, fresh optimizer state."""
        states = tuple(self.strategy.init(*segment.init()) for segment in self.segments)
        return self.mesh.replicated(states)

    def forward(
        self, segment: int, state: SegmentState, inputs: PyTree, batch: PyTree, moment: Moment
    ) -> tuple[PyTree, Passed]:
        """`SegmentProgram.forward` of that segment; `batch` reaches the last one only."""
        return self._run(self._programs[segment].forward, segment, state, inputs, batch, moment)

    def backward(
        self,
        segment: int,
        state: SegmentState,
        passed: Passed,
        cotangent: Cotangent,
        now: float,
        own: list[PyTree] | None = None,
    ) -> tuple[SegmentState, Cotangent]:
        """`SegmentProgram.backward` of that segment; `own` as in `apply`."""
        given = _with_own(state, own, segment)
        run = self._programs[segment].backward
        after, previous = self._back(segment, cotangent, lambda owed: run(given, passed, owed, now))
        return _without_own(after, state, own, segment), previous

    def backward_at(
        self,
        segment: int,
        state: SegmentState,
        passed: Passed,
        cotangent: Cotangent,
        moment: Moment,
        now: float,
    ) -> tuple[SegmentState, Cotangent]:
        """`SegmentProgram.backward_at` of that segment."""
        draw = Draw(*moment, segment)
        run = self._programs[segment].backward_at
        return self._back(segment, cotangent, lambda owed: run(state, passed, owed, draw, now))

    def advance(
        self, segment: int, state: SegmentState, inputs: PyTree, batch: PyTree, moment: Moment
    ) -> tuple[PyTree, Passed]:
        """`SegmentProgram.advance` of that segment; `batch` reaches the last one only."""
        return self._run(self._programs[segment].advance, segment, state, inputs, batch, moment)

    def gradient(
        self, segment: int, passed: Passed, cotangent: Cotangent
    ) -> tuple[PyTree, Cotangent]:
        """`SegmentProgram.gradient` of that segment."""
        run = self._programs[segment].gradient
        return self._back(segment, cotangent, lambda owed: run(passed, owed))

    def gradient_at(
        self,
        segment: int,
        state: SegmentState,
        passed: Passed,
        cotangent: Cotangent,
        moment: Moment,
    ) -> tuple[PyTree, Cotangent]:
        """`SegmentProgram.gradient_at` of that segment."""
        draw = Draw(*moment, segment)
        run = self._programs[segment].gradient_at
        return self._back(segment, cotangent, lambda owed: run(state, passed, owed, draw))

    def cotangent(self, segment: int, passed: Passed, cotangent: Cotangent) -> Cotangent:
        """`SegmentProgram.cotangent` of that segment."""
        run = self._programs[segment].cotangent
        return self._back(segment, cotangent, lambda owed: (None, run(passed, owed)))[1]

    def apply(
        self,
        segment: int,
        state: SegmentState,
        grads: PyTree,
        now: float,
        own: list[PyTree] | None = None,
    ) -> SegmentState:
        """`SegmentProgram.apply` of that segment.

        Args:
          segment: whose state it is.
          state: live.
          grads: of it.
          now: time in seconds.
          own: a thread's optimizer states by segment, as `fresh_opt_states` returns them, used in place
            of the state's and updated; None uses the state's.
        """
        given = _with_own(state, own, segment)
        after = self._programs[segment].apply(given, grads, now)
        return _without_own(after, state, own, segment)

    def fresh_opt_states(self) -> list[PyTree]:
        """The optimizer state of every segment at step 0."""
        return [state.opt_state for state in self.init()]

    def turn(
        self, state: SegmentState, inputs: PyTree, batch: PyTree, moment: Moment, now: float
    ) -> tuple[SegmentState, Array, Cotangent]:
        """`SegmentProgram.turn` of the last segment."""
        last = len(self) - 1
        inputs, _ = self._loans.taken(last, inputs)
        draw = Draw(*moment, last)
        state, loss, previous = self._programs[last].turn(state, inputs, batch, draw, now)
        return state, loss, self._loans.returned(last, previous)

    def _back(
        self,
        segment: int,
        cotangent: Cotangent,
        run: Callable[[list[Array] | None], tuple[Any, list[Array]]],
    ) -> tuple[Any, Cotangent]:
        """A backward call, with the cotangents of what the segment has lent and borrowed."""
        owed, loans = self._loans.owed(segment, cotangent)
        result, previous = run(owed)
        return result, self._loans.returned(segment, previous, loans)

    def _run(
        self,
        run: Callable[..., tuple[PyTree, Passed]],
        segment: int,
        state: SegmentState,
        inputs: PyTree,
        batch: PyTree,
        moment: Moment,
    ) -> tuple[PyTree, Passed]:
        inputs, loans = self._loans.taken(segment, inputs)
        batch = batch if segment == len(self) - 1 else None
        model_state, passed = run(state, inputs, batch, Draw(*moment, segment))
        outputs = self._loans.onward(segment, passed.outputs, state.params, loans)
        return model_state, passed._replace(outputs=outputs)


def _with_own(state: SegmentState, own: list[PyTree] | None, segment: int) -> SegmentState:
    return state if own is None else state._replace(opt_state=own[segment])


def _without_own(
    after: SegmentState, before: SegmentState, own: list[PyTree] | None, segment: int
) -> SegmentState:
    if own is None:
        return after
    own[segment] = after.opt_state
    return after._replace(opt_state=before.opt_state)
