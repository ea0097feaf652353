"""Forward threads and backward threads with a bounded queue of tapes in between: PD-ASGD's schedule.

    works -> F forward threads -> queue of at most Q tapes -> B backward threads -> results
                ^ read the newest                               | update each segment at once
                +------------------ store <---------------------+

No pass waits for another: a forward pass reads whatever stands in the store when it gets there. A place
in the queue is reserved before a forward pass begins, so at most Q + B tapes exist at any time.

With partition `layer` these are PD-ASGD's layer-wise updates, with `model` the ablation D-ASGD.

Differs from the interleaved schedule where a strategy has collectives: a forward pass does not wait for
what other workers gave; the next backward pass does, and backward passes then go one at a time, in the
order in which they are begun, so that all workers take part in the same order.

References:
  arXiv 2410.05985 v1 to v3 (PD-ASGD). Whether VJPs use the weights of the forward pass (`stored`) or the
  newest (`live`) could not be read there, so it is an option; its listing is our reconstruction.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from layup_jax.engine.engine import Tape
from layup_jax.pipeline.base import Parts, PipelineStatistics, StepResult, Work
from layup_jax.pipeline.devices import Placement
from layup_jax.pipeline.passes import Passes, Turn
from layup_jax.pipeline.queue import BoundedQueue, QueueClosed
from layup_jax.pipeline.ratio import Choice, Ratio
from layup_jax.pipeline.threaded import Threaded
from layup_jax.pipeline.tuner import Tuner

_LOOK_SECONDS = 1.0  # a thread that rests looks again this often, though whoever wants it wakes it


class DecoupledOptions(NamedTuple):
    """How many threads, and what they do.

    Attributes:
      ratio: threads and places of the queue to start with.
      tuner: changes them as it measures; None leaves them.
      weights: stored | live; see `Passes`.
      placement: of threads on devices.
    """

    ratio: Ratio
    tuner: Tuner | None = None
    weights: str = "stored"
    placement: Placement | None = None


class _Pass(NamedTuple):
    """A tape on its way from forward to backward, and the number of samples it is of."""

    tape: Tape
    samples: int


class Decoupled(Threaded):
    """F forward and B backward threads, see above.

    Threads: one calls; `layup-forward-<rank>-<i>` and `layup-backward-<rank>-<i>` are its own.
    """

    def __init__(
        self,
        parts: Parts,
        options: DecoupledOptions,
        on_change: Callable[[str], None] = lambda reason: None,
    ):
        """Takes what it works on; threads start at the first run.

        Args:
          parts: of the worker.
          options: how many threads.
          on_change: told why, whenever the tuner has changed the ratio.
        """
        super().__init__(parts, waiting=1)
        self._options = options
        self._on_change = on_change
        self._ratio = options.ratio
        self._passes = Passes(parts, options.weights, options.placement)
        self._tapes: BoundedQueue[_Pass] = BoundedQueue(self._ratio.queue)
        self._numbers = itertools.count()
        self._in_order = threading.Lock() if parts.settle else contextlib.nullcontext()
        self._alive, self._alive_max, self._counting = 0, 0, threading.Lock()
        self._results_seen = 0
        self._changed = threading.Condition()
        self._closed = False

    def warm_up(self, work: Work) -> int:
        """Two steps for every device."""
        options = self._options
        passes = Passes(self._parts.quiet(), options.weights, options.placement)
        steps = 2 * (options.placement or Placement()).num_devices
        for thread in range(steps):
            passes.backward(passes.forward(work, thread), Turn(0, thread), work.samples)
        return steps

    def run(self, works: Iterable[Work]) -> Iterator[StepResult]:
        """See `Pipeline`; the ratio may change between two results."""
        for result in super().run(works):
            self._let_tuner_choose()
            yield result

    def describe(self) -> str:
        """Threads, queue and weights."""
        return f"decoupled {self._ratio}, {self._options.weights} weights"

    def statistics(self) -> PipelineStatistics:
        """Since the start."""
        return PipelineStatistics(
            store_seconds=self._parts.store.waited_seconds(self._crew.identities()),
            spent_seconds=self._passes.spent_seconds(),
            times=self._passes.times(),
            queue=self._tapes.statistics(),
            tapes_alive_max=self._alive_max,
        )

    def _start(self) -> None:
        self._tapes.count_from_now()
        for index in range(self._ratio.forward):
            self._crew.start("forward", index, self._forward_loop)
        for index in range(self._ratio.backward):
            self._crew.start("backward", index, self._backward_loop)

    def _close_queues(self) -> None:
        super()._close_queues()
        self._tapes.close()
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _until_wanted(self, is_wanted: Callable[[], bool]) -> None:
        """Lets a thread rest that the ratio has no use for."""
        with self._changed:
            while not (self._closed or is_wanted()):
                self._changed.wait(_LOOK_SECONDS)
        if self._closed:
            raise QueueClosed

    def _forward_loop(self, index: int) -> None:
        while True:
            self._until_wanted(lambda: index < self._ratio.forward)
            self._tapes.reserve()
            work = self._works.take()
            self._crew.at_step(work.moment.step)
            self._parts.delays.before_forward(work.moment.step)
            self._count_tapes(1)
            self._tapes.fill(_Pass(self._passes.forward(work, index), work.samples))

    def _backward_loop(self, index: int) -> None:
        while True:
            self._until_wanted(lambda: index < self._ratio.backward)
            tape, samples = self._tapes.take()
            self._crew.at_step(tape.moment.step)
            self._parts.delays.before_backward(tape.moment.step)
            with self._in_order:
                turn = Turn(next(self._numbers), index)
                result = self._passes.backward(tape, turn, samples)
            del tape
            self._count_tapes(-1)
            self._results.put(result)

    def _count_tapes(self, more: int) -> None:
        with self._counting:
            self._alive += more
            self._alive_max = max(self._alive_max, self._alive)

    def _let_tuner_choose(self) -> None:
        self._results_seen += 1
        if self._options.tuner is None:
            return
        choice = self._options.tuner.after_step(
            self._ratio, self._parts.clock.now(), self._passes.times
        )
        if choice is None:
            return
        if choice.ratio != self._ratio:
            self._change(choice)
        if choice.reason is not None:
            self._on_change(f"step {self._results_seen}: {choice.reason}")

    def _change(self, choice: Choice) -> None:
        with self._changed:
            self._ratio = choice.ratio
            self._changed.notify_all()
        self._tapes.resize(choice.ratio.queue)
        self._start()
