"""One worker: the page where data, model, strategy, store, pipeline and transport meet.

worker = Worker(task, engine, config, transport, sinks)
result = worker.run(loader, stop)

loader -> pipeline (forward, backward) -> store <-> communication thread <-> peers
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import platform
import resource
import threading
import time
from collections.abc import Iterator, Sequence

import jax

from layup_jax.accounts import Accounts
from layup_jax.artificial import configured_delays
from layup_jax.attempts import Attempts
from layup_jax.clock import WallClock
from layup_jax.config import RunConfig
from layup_jax.costs import Costs, is_synchronous, measure_costs
from layup_jax.data.prefetch import prefetched
from layup_jax.draws import Draws
from layup_jax.engine import carried
from layup_jax.engine.engine import Engine, Moment
from layup_jax.engine.evaluate import Model
from layup_jax.engine.merger import Merger
from layup_jax.engine.port import Port
from layup_jax.engine.recording import Recorded, Recording, digest
from layup_jax.errors import ConfigError, PeerFailedError, TransportError
from layup_jax.evaluations import Evaluations, Measured
from layup_jax.hardware import Hardware, own_hardware
from layup_jax.host import allowed_cores, jax_platform
from layup_jax.metrics.records import Line, NoteRecord
from layup_jax.metrics.sink import Sink
from layup_jax.models.partition import Partition
from layup_jax.patience import told_if_long
from layup_jax.pipeline.base import Parts, Pipeline, StepResult, Work
from layup_jax.pipeline.interleaved import Interleaved
from layup_jax.pipeline.make import make_pipeline
from layup_jax.pipeline.ratio import measure_passes
from layup_jax.reestimation import Reestimation
from layup_jax.result import WorkerResult
from layup_jax.schedule import configured_schedule
from layup_jax.steps import Steps
from layup_jax.store import ParameterStore
from layup_jax.strategies.base import Strategy
from layup_jax.task import Task
from layup_jax.transport.base import Transport
from layup_jax.transport.communicator import CommunicationOptions, Communicator
from layup_jax.transport.outbox import Outbox
from layup_jax.types import (
    AllReduce,
    BackgroundAverage,
    Exchange,
    NeighbourGather,
    Push,
    PyTree,
    SegmentState,
    SegmentUpdated,
)

_COLLECTIVES = (AllReduce, NeighbourGather)
_IDLE_SECONDS = {True: 0.004, False: 0.05}  # by whether workers have anything to tell each other


class Worker:
    """Trains on one rank, once.

    Threads: one calls `run`; the communication thread is started and ended inside.

    Attributes:
      recording: of what happened, if that is configured; complete once `run` has returned.
    """

    def __init__(
        self,
        task: Task,
        engine: Engine,
        config: RunConfig,
        transport: Transport,
        sinks: Sequence[Sink] = (),
    ):
        """Builds the parts; nothing is compiled or sent yet."""
        rank = transport.rank
        strategy = engine.strategy
        self._attempts = Attempts(transport)
        self._config = config
        self._transport = transport
        self._sinks = tuple(sinks)
        self._strategy = strategy
        self._draws = Draws(config.seed, rank)
        self._clock = WallClock()
        self._task = task
        self._engine = engine
        self._store = ParameterStore(engine.init())
        self._outbox = Outbox()
        self.recording = Recording() if config.record else None
        self._port = Port(self._store, engine.wire, self._clock, self.recording)
        self._communicator = Communicator(
            transport,
            self._port,
            self._outbox,
            _options(config, strategy),
            None if strategy.topology is None else strategy.topology.neighbours(rank),
        )
        self._merger = Merger(
            self._store,
            engine.wire,
            self._clock,
            self._communicator.collectives.ask,
            self._require_company,
            self.recording,
        )
        self._schedule = configured_schedule(config)
        self._schedule.check_segments(len(engine))
        # Until the configured one has been measured.
        self._pipeline: Pipeline = Interleaved(self._parts())
        self._evaluations = Evaluations(
            engine.evaluator,
            strategy,
            self._communicator.reductions,
            rank,
            self._write,
            task.test,
        )
        self._reestimate = Reestimation(
            engine, self._attempts, self._communicator.reductions, transport.size
        )
        self._progress = Steps(len(engine))
        self._accounts = Accounts(self._clock, self._communicator, self._merger, self._progress)
        self._begun = 0
        self._gives_up = False
        self._hardware: Hardware | None = None
        self._costs: Costs | None = None
        self._spent: dict[str, float] | None = None

    def run(self, loader: Iterator[PyTree], stop: threading.Event | None = None) -> WorkerResult:
        """Trains until the configured end. Collective: every worker must call it.

        Args:
          loader: endless batches; records with `inputs`.
          stop: ends the training after the current step when set.

        Returns:
          The result; after a failure too, with the error in `self.error`.
        """
        batches = prefetched(loader, self._config.prefetch)
        first = self._attempts.run(lambda: next(batches))
        if self.error is None:
            self._attempts.run(lambda: self._warm_up(first))
        interrupted = False
        if self._attempts.all_well():
            start = time.perf_counter()
            self._clock.restart()
            self._communicator.start()
            train = functools.partial(self._train, itertools.chain([first], batches), stop)
            interrupted = bool(self._attempts.run(train))
            seconds = self._clock.now()
            if self._config.profile and is_synchronous():
                self._spent = self._accounts.spent_seconds(self._pipeline.statistics())
            with self._told_if_long("waiting for the workers that still train"):
                self._communicator.finish(failed=self.error is not None)
                self._attempts.error = self.error or self._communicator.error
                if self.error is None:
                    self._attempts.run(self._merge_the_rest)
                wall_seconds = time.perf_counter() - start
                all_well = self._attempts.all_well()
            final = self._final(seconds, batches) if all_well else None
            return self._result(seconds, interrupted, wall_seconds, final)
        return self._result(0.0, interrupted, 0.0)

    def recorded(self, partition: Partition, place: tuple[int, int]) -> Recorded | None:
        """What it takes to repeat this worker's run; None if that is not configured."""
        if self.recording is None:
            return None
        return Recorded(self.recording, digest(self._states()), partition, place)

    def _merge_the_rest(self) -> None:
        """What the last collectives brought; an averager has merged its own, and misses no later ones."""
        if self._strategy.asks not in _COLLECTIVES:
            return
        collectives = self._communicator.collectives
        leftovers = collectives.leftovers() if self._strategy.weighted else ()
        self._merger.finish(collectives.late, leftovers)

    @property
    def error(self) -> BaseException | None:
        """What ended `run` early; None if nothing did."""
        return self._attempts.error

    @property
    def cut_off(self) -> TransportError | None:
        """Why the other workers cannot be reached any more; None if they can."""
        return self._attempts.cut_off

    @property
    def mean(self) -> Model | None:
        """The weighted mean over workers at the end of a run; None before, and after a failure."""
        return self._evaluations.final_mean

    def _warm_up(self, batch: PyTree) -> None:
        """Compiles everything that training will call, on states that are then thrown away."""
        with self._engine.compiling:
            self._pipeline = self._make_pipeline(batch)
            work = Work(batch, self._moment())
            self._pipeline.warm_up(work)
            if self._config.profile:
                self._profile(work)
            carried.warm_up(self._store.snapshot())
            asks = self._strategy.asks
            if asks is AllReduce or asks is NeighbourGather:
                self._merger.warm_up(asks, self._transport.prepare_sum)
            elif asks is BackgroundAverage:
                self._port.warm_up_averages(self._transport.prepare_sum)
            elif asks is not None and self._transport.size > 1:
                self._port.warm_up(self._transport.prepare if asks is Exchange else None)
            self._evaluations.warm_up(self._states())
        self._store.restart(self._engine.init())
        if self.recording is not None:
            self.recording.clear()

    def _profile(self, work: Work) -> None:
        """What it takes to say at the end how well the hardware was used."""
        local = jax.local_devices()
        devices = self._engine.mesh.devices or [local[each] for each in self._schedule.devices]
        self._hardware = own_hardware(devices, self._config.compute_dtype)
        if self._transport.rank == 0:
            asleep = self._parts().delays.emulated.seconds
            costs = measure_costs(
                self._task, self._engine, self._pipeline, work, asleep_seconds=asleep
            )
            # Of partial gradients nobody counts how much was differentiated.
            self._costs = costs._replace(flops=None) if self._schedule.is_partial else costs

    def _states(self) -> tuple[SegmentState, ...]:
        """The newest state of every segment, on one device."""
        return self._engine.mesh.single(self._store.snapshot())

    def _moment(self) -> Moment:
        return Moment(*self._draws, self._begun)

    def _parts(self) -> Parts:
        rank = self._transport.rank
        return Parts(
            engine=self._engine,
            store=self._store,
            clock=self._clock,
            on_update=self._ask,
            settle=self._merger.settle if self._strategy.asks in _COLLECTIVES else None,
            rank=rank,
            delays=configured_delays(self._config, rank, self._engine.segments),
            recording=self.recording,
        )

    def _make_pipeline(self, batch: PyTree) -> Pipeline:
        parts = self._parts()
        return make_pipeline(
            self._schedule,
            parts,
            measure=lambda: measure_passes(self._engine, batch, parts.delays),
            cores=len(allowed_cores()) if jax_platform() == "cpu" else 1,
            on_change=self._note,
        )

    def _note(self, text: str) -> None:
        self._write(NoteRecord(self._transport.rank, self._begun, self._clock.now(), text))

    def _told_if_long(self, text: str) -> contextlib.AbstractContextManager[None]:
        """For what keeps this thread from writing anything itself."""
        return told_if_long(lambda: self._note(text))

    def _ask(self, event: SegmentUpdated) -> None:
        for request in self._strategy.requests(event, self._draws):
            if isinstance(request, AllReduce | NeighbourGather):
                self._merger.ask(request, event.step)
            elif isinstance(request, Push | Exchange):
                self._outbox.put(request)
            else:
                raise ConfigError(
                    "a strategy's requests must be a tuple of Push, Exchange, AllReduce or "
                    f"NeighbourGather, got {request!r} in it; return such a tuple"
                )

    def _require_peers(self) -> None:
        """Raises what the communication thread has learned, if anything went wrong."""
        if self._communicator.error is not None:
            raise self._communicator.error

    def _require_company(self) -> None:
        """The same for threads that wait for others; nor do they wait once this worker has failed."""
        self._require_peers()
        if self._gives_up:
            raise PeerFailedError(f"worker {self._transport.rank} has failed in another thread")

    def _train(self, loader: Iterator[PyTree], stop: threading.Event | None) -> bool:
        """The training loop; returns whether it was interrupted."""
        try:
            while not self._is_over(stop):
                for result in self._pipeline.run(self._works(loader, stop)):
                    self._count(result)
                self._evaluate()
        except BaseException:
            self._gives_up = True
            raise
        finally:
            self._pipeline.close()
        return not self._at_end()

    def _works(self, loader: Iterator[PyTree], stop: threading.Event | None) -> Iterator[Work]:
        """What to train on until the next evaluation or the end, at least one step."""
        is_enough = False
        while not is_enough:
            self._require_peers()
            start = time.perf_counter()
            work = Work(next(loader), self._moment())
            self._progress.data_seconds += time.perf_counter() - start
            self._begun += 1
            self._communicator.tally.add(work.samples)
            yield work
            is_enough = self._is_over(stop) or self._asks_now() or self._evaluations.is_due()

    def _is_over(self, stop: threading.Event | None) -> bool:
        return self._at_end() or (stop is not None and stop.is_set())

    def _at_end(self) -> bool:
        stop = self._config.stop
        if stop.steps is not None and self._begun >= stop.steps:
            return True
        if self._communicator.tally.is_reached():
            return True
        return stop.seconds is not None and self._clock.now() >= stop.seconds

    def _asks_now(self) -> bool:
        """Whether an evaluation follows the step begun last, besides the one at the end."""
        every = self._config.evaluation.every_steps
        return bool(every) and self._begun % every == 0 and self._begun != self._config.stop.steps

    def _count(self, result: StepResult) -> None:
        self._progress.add(result)
        if self._progress.steps % self._config.log_every_steps == 0:
            self._report_step(float(result.loss))

    def _evaluate(self) -> None:
        """What is due between two steps, while no thread computes."""
        if self._asks_now():
            start = time.perf_counter()
            self._merger.settle_all(self._begun)
            self._progress.merge_seconds += time.perf_counter() - start
            is_mean = self._config.evaluation.model == "mean"
            evaluate = self._evaluations.ask if is_mean else self._evaluations.look
            with self._clock.paused():
                evaluate(self._begun, self._clock.now(), self._states())
        if self._evaluations.is_due():
            with self._clock.paused():
                self._evaluations.collect()

    def _report_step(self, loss: float) -> None:
        rank, pipeline = self._transport.rank, self._pipeline.statistics()
        self._write(self._accounts.step_record(rank, loss, pipeline, self._push_sum_weights()))

    def _push_sum_weights(self) -> list[float]:
        if not self._strategy.weighted:
            return []
        return [float(self._strategy.weight(state)) for state in self._states()]

    def _write(self, line: Line) -> None:
        for sink in self._sinks:
            sink.write(line)

    def _result(
        self,
        seconds: float,
        interrupted: bool,
        wall_seconds: float,
        final: Measured | None = None,
    ) -> WorkerResult:
        evaluation = self._config.evaluation
        return WorkerResult(
            rank=self._transport.rank,
            interrupted=interrupted,
            failure=self._attempts.failure,
            steps=self._progress.steps,
            samples=self._progress.samples,
            train_seconds=seconds,
            wall_seconds=wall_seconds,
            final=final,
            time_to_target_seconds=self._evaluations.time_to(
                evaluation.target, of_mean=evaluation.model == "mean"
            ),
            staleness_mean=self._progress.staleness_mean(),
            staleness_histogram=self._progress.staleness_histogram(),
            schedule=self._pipeline.describe(),
            pipeline=self._pipeline.statistics(),
            communication=self._communicator.statistics(),
            peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            host=platform.node(),
            hardware=self._hardware,
            costs=self._costs,
            spent=self._spent,
        )

    def _final(self, seconds: float, batches: Iterator[PyTree]) -> Measured | None:
        """The last evaluation, of which the weighted mean over workers is the result of the run.

        Returns:
          None where a worker failed at the statistics of that mean.
        """
        self._communicator.reductions.settle()
        self._evaluations.collect()
        self._evaluations.ask(self._progress.steps, seconds, self._states())
        with self._told_if_long("adding up the models of all workers"):
            self._communicator.reductions.settle()
        if self._config.batch_statistics != "reestimate":
            return self._evaluations.finish()
        moment = self._moment()
        final = self._evaluations.finish(lambda mean: self._reestimate(mean, batches, moment))
        return None if self.error is not None else final


def _options(config: RunConfig, strategy: Strategy) -> CommunicationOptions:
    share = config.transport.share
    return CommunicationOptions(
        share=1.0 if share is None else share,
        sends_in_flight=config.transport.sends_in_flight,
        idle_seconds=_IDLE_SECONDS[strategy.asks is not None or config.stop.samples is not None],
        samples=config.stop.samples,
        averages=strategy.asks is BackgroundAverage,
    )
