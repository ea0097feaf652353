"""What all schedules share: what they are given, what they take in, what they give back.

    pipeline = Decoupled(Parts(engine, store, clock, on_update), DecoupledOptions(Ratio(1, 2, queue=2)))
    works = [Work(batch, Moment(seed, rank, step)) for step, batch in enumerate(batches)]
    results = list(pipeline.run(works))         # one for each step, in the order in which they end
    pipeline.close()

A pipeline owns its threads, and nothing else: not the store, nor what it is told to call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

import jax

from layup_jax.clock import Clock
from layup_jax.engine.engine import Engine, Moment
from layup_jax.engine.recording import Event, Recording
from layup_jax.pipeline.delays import Delays
from layup_jax.pipeline.queue import QueueStatistics
from layup_jax.store import ParameterStore
from layup_jax.types import Array, PyTree, SegmentUpdated


class Work(NamedTuple):
    """One step to be trained: a batch (a record with `inputs`), and what it is called."""

    batch: PyTree
    moment: Moment

    @property
    def samples(self) -> int:
        """In the batch."""
        return jax.tree.leaves(self.batch)[0].shape[0]


class StepResult(NamedTuple):
    """What one training step leaves for the metrics.

    Attributes:
      loss: scalar, possibly still being computed.
      staleness: for each segment, writes by others between its forward read and its own update; None
        for a segment that this step did not update.
      samples: trained on.
    """

    loss: Array
    staleness: tuple[int | None, ...]
    samples: int


class Parts(NamedTuple):
    """What a schedule works on.

    Attributes:
      engine: of the model.
      store: of the worker.
      clock: the time that updates are given.
      on_update: called right after each segment's update.
      settle: called with segment and step before what other workers gave has to be merged; None where
        a strategy has no collectives.
      rank: of the worker.
      delays: artificial ones, within and between passes.
      recording: gets who read and wrote what; None records nothing.
    """

    engine: Engine
    store: ParameterStore
    clock: Clock
    on_update: Callable[[SegmentUpdated], None]
    settle: Callable[[int, int], None] | None = None
    rank: int = 0
    delays: Delays = Delays()
    recording: Recording | None = None

    def quiet(self) -> Parts:
        """The same for passes that nobody is told of: they compile, and that is all."""
        return self._replace(
            on_update=lambda event: None, settle=None, delays=Delays(), recording=None
        )

    def record(self, event: Event) -> None:
        """Adds an event to the recording, if there is one."""
        if self.recording is not None:
            self.recording.add(event)


class PassTimes(NamedTuple):
    """Of the passes of a worker, where its threads do them one by one.

    Attributes:
      forward_seconds: mean of a forward pass.
      backward_seconds: mean of a backward pass, updates included.
      started_seconds: for each segment, mean time from the start of a backward pass to the start of
        the segment's own vector-Jacobian product.
      updated_seconds: the same, to the end of the segment's update.
    """

    forward_seconds: float
    backward_seconds: float
    started_seconds: tuple[float, ...]
    updated_seconds: tuple[float, ...]


class PipelineStatistics(NamedTuple):
    """A snapshot.

    Attributes:
      store_seconds: that its threads have waited for other writers, in all.
      spent_seconds: of all its threads by cause, without waits for other writers: forward, turn (forward
        and backward of the last segment in one call) and backward, updates included, and communication
        (asking for it, waiting for what is due, merging it).
      times: of passes; None where forward and backward are not separate.
      queue: between forward and backward; None where there is none.
      tapes_alive_max: most tapes that were held at once, being made and being used included.
    """

    store_seconds: float
    spent_seconds: Mapping[str, float]
    times: PassTimes | None = None
    queue: QueueStatistics | None = None
    tapes_alive_max: int = 1


class Pipeline(Protocol):
    """A schedule of forward and backward passes.

    Threads: one calls everything. After close: nothing may be called but `statistics`.
    """

    def warm_up(self, work: Work) -> int:
        """Compiles everything that `run` will call; leaves the store changed, and tells nobody.

        Returns:
          How many steps it took for that.
        """
        ...

    def run(self, works: Iterable[Work]) -> Iterator[StepResult]:
        """Trains on everything given.

        Args:
          works: taken by the calling thread, one after the other, as there is room for them.

        Yields:
          A result for each step, in the order in which they end. All have ended when this ends.

        Raises:
          NonFiniteError: a loss is not a finite number.
          PipelineError: a thread failed in another way.
        """
        ...

    def close(self) -> None:
        """Ends all threads, what they were at included; idempotent."""
        ...

    def describe(self) -> str:
        """Such as "decoupled 1:2, queue 1, stored weights"."""
        ...

    def statistics(self) -> PipelineStatistics:
        """Since the start."""
        ...
