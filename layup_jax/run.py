"""Runs: a task of the user's own, trained by the workers of any transport.

run = run_local(task, (inputs, labels), num_workers=4)      # threads of this process
run.summary.test_accuracy, run.model
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import itertools
import numbers
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import optax

from layup_jax.artificial import configured_transport
from layup_jax.config import RunConfig, StrategyConfig, validated
from layup_jax.config_checks import check_ranks
from layup_jax.data import Batch, LoaderSpec, make_loader
from layup_jax.engine.engine import Engine
from layup_jax.engine.evaluate import Model
from layup_jax.engine.measure import measure_partition
from layup_jax.engine.numerics import Numerics
from layup_jax.engine.recording import Recorded
from layup_jax.engine.sharding import ONE_DEVICE, LocalMesh, local_meshes
from layup_jax.engine.wire import WireOptions
from layup_jax.epochs import for_workers
from layup_jax.errors import ConfigError, DataError, PeerFailedError
from layup_jax.host import local_place
from layup_jax.metrics.records import RunSummary
from layup_jax.metrics.sink import Sink
from layup_jax.models import partition_layers
from layup_jax.models.partition import Partition, in_words
from layup_jax.schedule import unused_threads
from layup_jax.strategies import STRATEGIES, Local, Setup, Strategy, advice, make_strategy
from layup_jax.summary import summarise
from layup_jax.task import Task, check_task
from layup_jax.transport.base import Transport
from layup_jax.transport.local import LocalTransport, local_transports, run_threads
from layup_jax.tree import num_bytes
from layup_jax.worker import Worker

Arrays = tuple[np.ndarray, np.ndarray]
MakeStrategy = Callable[[optax.GradientTransformation, int], Strategy]


class Chosen(NamedTuple):
    """A partition, and in words how it came about."""

    partition: Partition
    description: str


class Run(NamedTuple):
    """What `train` gives back on every worker.

    Attributes:
      summary: of all workers.
      model: the weighted mean over workers, evaluated in the summary; None after a failure.
      error: what ended this worker early; PeerFailedError if another one failed first.
      recorded: what it takes to repeat this worker's part; None without `config.record`.
    """

    summary: RunSummary
    model: Model | None
    error: BaseException | None = None
    recorded: Recorded | None = None


def choose_partition(
    config: RunConfig, task: Task, batch: Batch | None, mesh: LocalMesh = ONE_DEVICE
) -> Chosen:
    """The configured partition; "auto" measures on `batch`, and without one decides nothing.

    Args:
      config: of the run.
      task: what is trained.
      batch: `sharded` over the mesh.
      mesh: the worker's devices.
    """
    model = task.model
    method = STRATEGIES[config.strategy.name]
    spec = config.partition
    if method.partition is not None and (method.is_whole or spec == "auto"):
        spec = method.partition
    sizes = [num_bytes(model.segment(index, index + 1).init()[0]) for index in range(len(model))]
    if spec != "auto":
        partition = partition_layers(spec, sizes)
        return Chosen(partition, f"{spec}: {in_words(partition)}")
    if batch is None:
        return Chosen(partition_layers("layer", sizes), "auto: not measured")
    layers = partition_layers("layer", sizes)
    local = Local(task.optimizer)
    by_layer = Engine(model, layers, task.loss, local, numerics=_numerics(config, mesh))
    emulated = config.emulation.forward_seconds + config.emulation.backward_seconds
    measured = measure_partition(by_layer, batch, emulated)
    return Chosen(measured.partition, f"auto: {measured}")


class Prepared(NamedTuple):
    """A task cut into segments: what the workers of one process share."""

    task: Task
    engine: Engine
    chosen: Chosen


def prepare(
    task: Task,
    config: RunConfig,
    chosen: Chosen,
    workers: int,
    make: MakeStrategy | None = None,
    mesh: LocalMesh = ONE_DEVICE,
) -> Prepared:
    """Builds the engine of a run of so many workers, for those that compute on this mesh.

    Args:
      task: what is trained.
      config: how.
      chosen: the segments.
      workers: how many.
      make: replaces the configured algorithm.
      mesh: devices; workers on other ones need an engine of their own.
    """
    if make is None:
        setup = Setup(config.strategy, task.optimizer, workers, task.learning_rate)
        strategy = make_strategy(setup)
    else:
        strategy = make(task.optimizer, workers)
    partition, numerics = chosen.partition, _numerics(config, mesh)
    engine = Engine(
        task.model,
        partition,
        task.loss,
        strategy,
        task.metric,
        numerics,
        WireOptions(config.transport.wire_dtype, config.batch_statistics == "gossip"),
    )
    return Prepared(task, engine, chosen)


def _numerics(config: RunConfig, mesh: LocalMesh) -> Numerics:
    return Numerics(config.compute_dtype, config.remat, mesh)


def train(
    prepared: Prepared,
    config: RunConfig,
    transport: Transport,
    loader: Iterator[Batch],
    sinks: Sequence[Sink] = (),
    stop: threading.Event | None = None,
) -> Run:
    """Trains one worker's share of a run. Collective: every worker of the transport calls it.

    Args:
      prepared: what is trained, the same on every worker.
      config: how.
      transport: this worker's endpoint.
      loader: this worker's endless batches.
      sinks: get this worker's metrics.
      stop: ends the run early when set.

    Returns:
      The run; of a failed one the summary, and this worker's error.

    Raises:
      TransportError: the other workers cannot be reached any more.
    """
    slow = configured_transport(config, transport)
    worker = Worker(prepared.task, prepared.engine, config, slow, sinks)
    result = worker.run(map(prepared.engine.mesh.sharded, loader), stop)
    if worker.cut_off is not None:
        raise worker.cut_off
    summary = summarise(
        config,
        transport.gather(result),
        strategy=prepared.engine.strategy,
        data_plane=transport.data_plane,
        partition=prepared.chosen.description,
        segments=len(prepared.engine),
    )
    place = local_place()
    recorded = worker.recorded(prepared.chosen.partition, (place.rank, place.size))
    return Run(summary, worker.mean, worker.error, recorded)


def config_of_task(config: RunConfig | Mapping[str, Any] | None) -> RunConfig:
    """The configuration of a run whose task is the user's own.

    Raises:
      ConfigError: it cannot be, or says what the task says.
    """
    if isinstance(config, RunConfig):
        return config
    said = [key for key in ("data", "model", "optimizer") if key in (config or {})]
    if said:
        raise ConfigError(
            f"config.{said[0]} must be left out where the task is your own, got it; the Task has the "
            "model and the optimizer, and the data are an argument of their own"
        )
    return validated(config or {})


def run_local(
    task: Task,
    data: Arrays | Callable[[int, int], Iterator[Batch]],
    *,
    num_workers: int = 4,
    config: RunConfig | Mapping[str, Any] | None = None,
    strategy: MakeStrategy | None = None,
    sinks: Mapping[int, Sequence[Sink]] | None = None,
) -> Run:
    """Trains with workers that are threads of this process: for notebooks and tests.

    Args:
      task: what is trained. `layup_jax.Task(LayeredModel([...]), loss, optax.sgd(0.1))` is enough.
      data: (inputs, labels) with the samples as first axis, sharded by rank; or a function
        (rank, num_workers) -> endless batches.
      num_workers: threads.
      config: a RunConfig or a mapping of what differs from its defaults, such as
        {"stop": {"steps": 100}}. A mapping must not have data, model or optimizer, which come with
        the task; those of a RunConfig are not used.
      strategy: an algorithm of the user's own, as a function (optimizer, num_workers) -> Strategy;
        config.strategy is then not used. `layup_jax.testing.strategies` tells whether it is one.
      sinks: by rank, get the metrics.

    Returns:
      The run: summary and mean model.

    Raises:
      LayupError: the task or the configuration cannot be run, or the run failed.
    """
    if not isinstance(num_workers, numbers.Integral) or num_workers < 1:
        raise ConfigError(
            f"a run needs a whole number of workers, at least 1, got {num_workers!r}; change num_workers"
        )
    if strategy is not None and not callable(strategy):
        raise ConfigError(
            f"strategy must be a function (optimizer, num_workers) -> Strategy, got {strategy!r}; "
            "an algorithm of layup list is named in config: {'strategy': {'name': ...}}"
        )
    run_config = config_of_task(config)
    if strategy is not None:
        run_config = dataclasses.replace(run_config, strategy=StrategyConfig())
    check_ranks(run_config, num_workers)
    make, samples = loader_of(data, run_config)
    run_config = for_workers(run_config, num_workers=num_workers, num_samples=samples)
    loaders = [make(rank, num_workers) for rank in range(num_workers)]
    meshes = local_meshes(num_workers, run_config.local_devices)
    first = meshes[0].sharded(next(loaders[0]))
    check_task(task, first)
    loaders[0] = itertools.chain([first], loaders[0])
    setup = Setup(run_config.strategy, task.optimizer, num_workers)
    for sentence in (*advice(setup), *unused_threads(run_config)):
        warnings.warn(sentence, stacklevel=2)
    chosen = choose_partition(run_config, task, first, meshes[0])
    prepared = {
        mesh: prepare(task, run_config, chosen, num_workers, strategy, mesh) for mesh in set(meshes)
    }
    stop = threading.Event()

    def start(transport: LocalTransport) -> Run:
        rank = transport.rank
        mine = (sinks or {}).get(rank, ())
        return train(prepared[meshes[rank]], run_config, transport, loaders[rank], mine, stop)

    runs = run_threads(local_transports(num_workers), start, stop.set)
    errors = [run.error for run in runs if run.error is not None]
    for error in sorted(errors, key=lambda each: isinstance(each, PeerFailedError)):
        raise error
    return runs[0]


def loader_of(
    data: Arrays | Callable[[int, int], Iterator[Batch]], config: RunConfig
) -> tuple[Callable[[int, int], Iterator[Batch]], int | None]:
    """What makes each worker's endless batches, and how many samples there are, if that is known.

    Raises:
      ConfigError: data of another kind.
    """
    if callable(data):
        return functools.partial(_own_batches, data), None
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise ConfigError(
            "data must be (inputs, labels), or a function of rank and number of workers, got "
            f"{type(data).__name__}; pass two arrays"
        )
    return _array_loader(data, config), len(data[1])


def _own_batches(
    make: Callable[[int, int], Iterator[Batch]], rank: int, workers: int
) -> Iterator[Batch]:
    """What a function of the user's own yields, which must not end."""
    _check_takes(make, rank, workers)
    batches = make(rank, workers)
    if not isinstance(batches, Iterator):
        raise ConfigError(
            f"data as a function must return an iterator of batches, got {type(batches).__name__}; "
            "yield them"
        )
    count = 0
    for batch in batches:
        yield batch
        count += 1
    raise DataError(
        f"the batches of a data function must not end, got {count} for worker {rank}; begin again "
        "after the last one"
    )


def _check_takes(make: Callable[..., Any], *arguments: int) -> None:
    try:
        signature = inspect.signature(make)
    except ValueError:  # a builtin that does not say
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        raise ConfigError(
            "data as a function must take a rank and the number of workers, got one that does not: "
            f"{error}; define it as data(rank, num_workers)"
        ) from error


def _array_loader(data: Arrays, config: RunConfig) -> Callable[[int, int], Iterator[Batch]]:
    """Makes each worker's endless batches of its share of the samples."""

    def make(rank: int, workers: int) -> Iterator[Batch]:
        spec = LoaderSpec(
            batch_size=config.batch_size, seed=config.seed, rank=rank, num_workers=workers
        )
        return iter(make_loader(spec, arrays=data))

    return make
