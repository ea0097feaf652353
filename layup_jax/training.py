"""A run under MPI, as every rank goes through it: host, data, model, training, run folder.

check(config, workers=4)                                    # before anything is started
train_under_mpi(validated(config), overwrite=False)         # on every rank
run_mpi(make_task, (inputs, labels), config={...})          # the same, with a task of the user's own
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

from layup_jax.config import RunConfig
from layup_jax.config_checks import check_ranks
from layup_jax.data import (
    Batch,
    LoaderSpec,
    SampleForm,
    Signature,
    load_split,
    make_loader,
    open_data_set,
)
from layup_jax.engine.recording import save
from layup_jax.engine.sharding import check_divisible, own_mesh
from layup_jax.engine.wire import check_dtype
from layup_jax.epochs import counts_epochs, for_workers
from layup_jax.errors import ConfigError, PeerFailedError, nearest
from layup_jax.host import HostReport, allowed_cores, local_place, prepare_host
from layup_jax.interrupts import Interrupts
from layup_jax.losses import cross_entropy
from layup_jax.metrics import (
    MetricsRecorder,
    Progress,
    RunFolder,
    TensorBoardWriter,
    describe_environment,
    draw_figure,
    open_console,
    print_summary,
)
from layup_jax.metrics.sink import Sink
from layup_jax.models import MODELS, LayeredModel
from layup_jax.optimizers import learning_rate_schedule, make_optimizer
from layup_jax.run import (
    Arrays,
    Chosen,
    Run,
    choose_partition,
    config_of_task,
    loader_of,
    prepare,
    train,
)
from layup_jax.schedule import configured_schedule, too_many_threads, unused_threads
from layup_jax.strategies import Setup, advice, asks, make_strategy
from layup_jax.task import Task, check_task
from layup_jax.transport.base import Transport
from layup_jax.types import Exchange

T = TypeVar("T")
_SHARED_CORES_SHARE = 0.03  # of what a worker has of a core that it computes on


def build_model(config: RunConfig, signature: Signature) -> LayeredModel:
    """The configured network for data that look so; one that takes a `vocabulary` is told the data's.

    Raises:
      ConfigError: unknown name or option, or an option of the wrong kind.
    """
    name, options = config.model.name, dict(config.model.options)
    if name not in MODELS:
        raise ConfigError(f"unknown config.model.name '{name}'; {nearest(name, MODELS)}")
    builder = MODELS[name]
    known = [key for key, each in inspect.signature(builder).parameters.items() if _is_option(each)]
    for key in options:
        if key not in known:
            raise ConfigError(f"unknown key config.model.options.{key}; {nearest(key, known)}")
    options.setdefault("seed", config.seed)
    if signature.vocabulary is not None and "vocabulary" in known:
        options.setdefault("vocabulary", signature.vocabulary)
    try:
        return builder(signature.input_shape, signature.num_classes, **options)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"config.model.options must suit the model '{name}' and samples of shape "
            f"{signature.input_shape}, got {dict(config.model.options)}: {error}; change them"
        ) from error


def build_task(config: RunConfig) -> Task:
    """Model, loss, optimizer and test data of a configuration.

    Raises:
      DataError: the data set cannot be had.
      ConfigError, ModelError: the model does not fit.
    """
    data = config.data
    form = _sample_form(config)
    signature = open_data_set(data.name, data.train_split, data.data_dir, form).signature
    model = build_model(config, signature)
    optimizer = make_optimizer(config.optimizer, config.stop.steps)
    rate = learning_rate_schedule(config.optimizer, config.stop.steps)
    test = load_split(
        data.name, data.test_split, data.data_dir, form=form, num_samples=data.test_samples
    )
    return Task(model, cross_entropy, optimizer, test, learning_rate=rate)


def loader_spec(config: RunConfig, rank: int, workers: int) -> LoaderSpec:
    """What one worker of a configured run loads."""
    data = config.data
    return LoaderSpec(
        data.name,
        data.train_split,
        config.batch_size,
        config.seed,
        rank,
        workers,
        data.data_dir,
        memory_limit_bytes=data.memory_limit_mb * 2**20,
        form=_sample_form(config),
    )


def check(config: RunConfig, workers: int, *, overwrite: bool = True) -> None:
    """Finds what would stop a configured run before it starts.

    Args:
      config: of the run.
      workers: how many.
      overwrite: whether it may replace an earlier run.

    Raises:
      LayupError: one sentence.
    """
    _check_start(config, workers, overwrite)
    check_divisible(config.batch_size, config.local_devices)
    config = _in_steps(config, workers, None)
    task = build_task(config)
    spec = loader_spec(config, 0, workers)
    data_set = open_data_set(spec.name, spec.split, spec.data_dir, spec.form)
    data_set.check(spec)
    check_task(task, data_set.signature.example())
    chosen = choose_partition(config, task, None)
    configured_schedule(config).check_segments(len(chosen.partition))
    strategy = make_strategy(Setup(config.strategy, task.optimizer, workers))
    check_dtype(config.transport.wire_dtype, strategy)


class Supply(NamedTuple):
    """Where a run's task and data come from.

    Attributes:
      task: called once on every rank, after its process was prepared; the same task on all.
      loader: (rank, number of workers) -> this worker's endless batches.
      num_samples: of all workers together; None if that is not known.
    """

    task: Callable[[], Task]
    loader: Callable[[int, int], Iterator[Batch]]
    num_samples: int | None = None


def run_mpi(
    task: Callable[[], Task],
    data: Arrays | Callable[[int, int], Iterator[Batch]],
    *,
    config: RunConfig | Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Run:
    """Trains a task of the user's own; each process that mpirun or srun started is a worker. Collective.

    Args:
      task: makes what is trained: the same on every process. It is called after the process was prepared,
        so JAX should not have been used before.
      data: as in `run_local`.
      config: as in `run_local`; the run folder is config.output / config.name.
      overwrite: whether an existing run folder may be replaced.

    Returns:
      The run: summary and mean model, on every worker.

    Raises:
      LayupError: the task or the configuration cannot be run, or the run failed; PeerFailedError on
        workers that stopped because of another one.
    """
    if not callable(task):
        raise ConfigError(
            f"run_mpi's task must be a function that makes the Task, got {type(task).__name__}; pass "
            "lambda: Task(...)"
        )
    run_config = config_of_task(config)
    supply = Supply(task, *loader_of(data, run_config))
    return train_under_mpi(run_config, overwrite=overwrite, supply=supply)


def train_under_mpi(
    config: RunConfig, *, overwrite: bool = False, supply: Supply | None = None
) -> Run:
    """Runs this MPI rank's part of a run. Collective.

    Args:
      config: the same on every rank.
      overwrite: whether rank 0 may replace an existing run folder.
      supply: task and data; None for the configured ones.

    Returns:
      The run.

    Raises:
      LayupError: one sentence on the rank that failed; PeerFailedError on the others.
    """
    place = local_place()
    devices = devices_of_worker(config)
    host = prepare_host(config.host.bind, *place, devices=devices)
    from layup_jax.transport.mpi import MpiTransport

    config = _resolved(config, host)
    transport = MpiTransport(config.transport.data_plane)
    with Interrupts(alone=transport.size == 1) as interrupts:
        together = functools.partial(_together, transport, interrupts.asked)
        config = together(functools.partial(_in_steps, config, transport.size, supply), root=True)
        supply = supply or _configured_supply(config)
        together(functools.partial(_check_start, config, transport.size, overwrite), root=True)
        mesh = together(lambda: own_mesh(config.local_devices, *place))
        task = together(supply.task)
        loader = together(lambda: supply.loader(transport.rank, transport.size))
        first = together(lambda: mesh.sharded(next(loader)))
        together(lambda: check_task(task, first))
        chosen = together(lambda: choose_partition(config, task, first, mesh), root=True)
        if transport.rank == 0:
            setup = Setup(config.strategy, task.optimizer, transport.size)
            threads = too_many_threads(configured_schedule(config), len(allowed_cores()))
            _announce(chosen, *advice(setup), *unused_threads(config), threads)
        prepared = together(lambda: prepare(task, config, chosen, transport.size, mesh=mesh))
        folder = together(lambda: _make_folder(config, overwrite), root=True)
        interrupts.end_after_step()
        with contextlib.ExitStack() as stack:
            sinks = together(lambda: _open_sinks(config, folder, transport))
            for sink in sinks:
                stack.callback(sink.close)
            batches = itertools.chain([first], loader)
            run = train(prepared, config, transport, batches, sinks, interrupts.asked)
            if run.recorded is not None:
                save(folder.recording(transport.rank), run.recorded)
        if transport.rank == 0:
            folder.write_summary(run.summary)
            draw_figure(folder)
            print_summary(run.summary, folder.figure)
    if run.error is not None:
        raise run.error
    return run


def devices_of_worker(config: RunConfig) -> int:
    """How many devices a worker has to see."""
    threads = config.threads
    indices = (*threads.forward_devices, *threads.backward_devices)
    return max([config.local_devices, *(index + 1 for index in indices)])


def _in_steps(config: RunConfig, workers: int, supply: Supply | None) -> RunConfig:
    """`for_workers`; the configured data set is opened only if epochs are counted."""
    samples = None if supply is None else supply.num_samples
    if supply is None and counts_epochs(config):
        data, form = config.data, _sample_form(config)
        samples = open_data_set(data.name, data.train_split, data.data_dir, form).num_samples
    return for_workers(config, num_workers=workers, num_samples=samples)


def _resolved(config: RunConfig, host: HostReport) -> RunConfig:
    """The configuration with everything decided that was left to the program."""
    transport = config.transport
    plane, share = transport.data_plane, transport.share
    if plane == "auto":
        swaps = asks(config.strategy) is Exchange
        plane = "mpi4jax" if swaps and host.platform != "tpu" else "host"
    if share is None:
        share = _SHARED_CORES_SHARE * host.cores_per_worker if host.is_crowded else 1.0
    transport = dataclasses.replace(transport, data_plane=plane, share=share)
    profile = config.profile is not False
    return dataclasses.replace(config, transport=transport, profile=profile)


def _together(
    transport: Transport,
    asked: threading.Event,
    function: Callable[[], T],
    *,
    root: bool = False,
) -> T:
    """Calls a function on every rank, or on rank 0 for all; if it fails anywhere, all stop.

    Raises:
      The function's error on the rank where it failed; PeerFailedError elsewhere.
      KeyboardInterrupt: any rank has been asked to end.
    """
    result: Any = None
    error: Exception | None = None
    if transport.rank == 0 or not root:
        try:
            result = function()
        except Exception as caught:
            error = caught
    shared = transport.gather((error is None, asked.is_set(), result if root else None))
    if error is not None:
        raise error
    for rank, (well, _, _) in enumerate(shared):
        if not well:
            raise PeerFailedError(f"worker {rank} failed first")
    if any(interrupted for _, interrupted, _ in shared):
        raise KeyboardInterrupt
    return shared[0][2] if root else result


def _announce(chosen: Chosen, *warnings: str | None) -> None:
    """What there is to say before training starts."""
    console = open_console()
    console.print(f"partition {chosen.description}")
    for warning in warnings:
        if warning is not None:
            console.print(f"warning: {warning}", markup=False, highlight=False, soft_wrap=True)


def _check_start(config: RunConfig, workers: int, overwrite: bool) -> None:
    """Finds what needs neither data nor model to be found."""
    check_ranks(config, workers)
    RunFolder.check(config.output, config.name, overwrite=overwrite)


def _make_folder(config: RunConfig, overwrite: bool) -> RunFolder:
    folder = RunFolder.create(config.output, config.name, overwrite=overwrite)
    folder.write_config(config)
    folder.write_environment(describe_environment(config.seed, datetime.now(UTC)))
    return folder


def _sample_form(config: RunConfig) -> SampleForm:
    data = config.data
    return SampleForm(
        context=data.context,
        tokenizer=data.tokenizer,
        augment=data.augment,
        crop_padding=data.crop_padding,
        image_size=data.image_size,
        normalize=data.normalize,
        mixup=data.mixup,
    )


def _configured_supply(config: RunConfig) -> Supply:
    def loader(rank: int, workers: int) -> Iterator[Batch]:
        return iter(make_loader(loader_spec(config, rank, workers)))

    return Supply(lambda: build_task(config), loader)


def _open_sinks(config: RunConfig, folder: RunFolder, transport: Transport) -> list[Sink]:
    rank, workers = transport.rank, transport.size
    sinks: list[Sink] = [MetricsRecorder(folder.metrics(rank))]
    if config.tensorboard:
        sinks.append(TensorBoardWriter(folder.tensorboard(rank)))
    if rank == 0:
        sinks.append(Progress(config.stop, workers=workers))
    return sinks


def _is_option(parameter: inspect.Parameter) -> bool:
    return parameter.kind is inspect.Parameter.KEYWORD_ONLY
