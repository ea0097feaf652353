"""One process of the experiment: steps of all schedules in turn, XLA held to one thread; prints JSON.

    python -m experiments.pd_asgd.timing '{"case": "conv", "rounds": 9, ...}'

On CPUs NPROC=1 and XLA_FLAGS=--xla_cpu_multi_thread_eigen=false hold XLA to one thread for each of ours.

All schedules live in one process and take turns in blocks of steps, so that a slow minute hits all alike.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from layup_jax.host import allowed_cores, die_with_parent, prepare_host

NUM_CLASSES = 10
REFERENCE = "interleaved"
AUTO = "auto"
RATIOS = ("1:1", "1:2", "1:3")
PARTITIONS = ("layer", "model")
_BATCHES = 20


class Case(NamedTuple):
    """A network at one size, on the digits or on samples made up for it.

    Attributes:
      model: its name in layup_jax.models.
      options: of it.
      batch_size: samples of a step.
      shape: of a sample: an image, or a number of tokens; None for the digits.
      classes: of an image, or the vocabulary.
    """

    model: str
    options: dict[str, Any]
    batch_size: int
    shape: tuple[int, ...] | None = None
    classes: int = NUM_CLASSES


CASES = {
    "conv": Case("conv", {}, 128),
    "mlp": Case("mlp", {"width": 512, "depth": 12}, 256),
}
MADE_UP = {  # their times only are of interest
    "gpt": Case("gpt", {"depth": 2, "width": 64, "heads": 4}, 16, (128,), 257),
    "resnet18": Case("resnet18", {}, 32, (32, 32, 3)),
    "resnet50": Case("resnet50", {"stem": "imagenet"}, 64, (224, 224, 3), 1000),
    "gpt2": Case("gpt2", {"dropout": 0.0}, 8, (1024,), 50257),
}


class Job(NamedTuple):
    """What one process does.

    Attributes:
      case: name in CASES or MADE_UP.
      rounds: of blocks.
      steps: of a block.
      seed: of orders and data.
      compute_dtype: float32 | bfloat16.
      settle_steps: of the schedule that chooses its ratio by trial, before the first block.
    """

    case: str
    rounds: int = 9
    steps: int = 40
    seed: int = 0
    compute_dtype: str = "float32"
    settle_steps: int = 1200


class Block(NamedTuple):
    """Some steps of one schedule; times in seconds.

    Attributes:
      step_seconds: from start to end, for each step.
      cores_busy: processor time of the process over that.
      forward_seconds: mean of a pass; None where passes are not separate, here and below.
      backward_seconds: likewise.
      delay_seconds: measured, see `layup_jax.staleness`.
      full_seconds: that forward threads waited for a place in the queue, for each step.
      empty_seconds: that backward threads waited for a tape.
      slot_seconds: that threads waited for each other at a segment.
    """

    step_seconds: float
    cores_busy: float
    forward_seconds: float | None = None
    backward_seconds: float | None = None
    delay_seconds: float | None = None
    full_seconds: float | None = None
    empty_seconds: float | None = None
    slot_seconds: float | None = None


def main(arguments: list[str]) -> int:
    """Measures one job; the exit status."""
    die_with_parent()
    job = Job(**json.loads(arguments[0]))
    prepare_host("none", 0, 1)
    sys.stdout.write(json.dumps(measure(job)) + "\n")
    return 0


def measure(job: Job) -> dict[str, Any]:
    """All schedules of one network."""
    case = (CASES | MADE_UP)[job.case]
    trainers: dict[str, Trainer] = {}
    with contextlib.ExitStack() as threads:  # that would outlive a failure
        for partition in PARTITIONS:
            for schedule in (REFERENCE, *RATIOS, AUTO):
                trainer = Trainer(case, partition, schedule, job.compute_dtype)
                threads.callback(trainer.close)
                trainers[f"{schedule} {partition}"] = trainer
        return {**_take_turns(trainers, job), "batch_size": case.batch_size}


def _take_turns(trainers: Mapping[str, Trainer], job: Job) -> dict[str, Any]:
    if job.settle_steps:
        for partition in PARTITIONS:
            trainers[f"{AUTO} {partition}"].block(job.settle_steps)
    blocks: dict[str, list[dict[str, Any]]] = {name: [] for name in trainers}
    order = random.Random(job.seed)
    for turn in range(job.rounds + 1):
        for name in order.sample(sorted(trainers), len(trainers)):
            block = trainers[name].block(job.steps)
            if turn:  # the first one warms caches
                blocks[name].append(block._asdict())
    for each in trainers.values():
        each.close()  # so that nothing is beside the passes below
    found = {name: each.found() for name, each in trainers.items()}
    import jax

    from layup_jax.hardware import own_hardware

    hardware = own_hardware(jax.local_devices()[:1], job.compute_dtype)
    layer = trainers[f"{REFERENCE} layer"]
    return {
        "blocks": blocks,
        "schedules": {name: each["schedule"] for name, each in found.items()},
        "staleness_histograms": {name: each["histogram"] for name, each in found.items()},
        "reasons": {name: each["reasons"] for name, each in found.items() if each["reasons"]},
        "segments": layer.segments,
        "step_flops": layer.step_flops(),
        "passes_alone": layer.passes(),
        "peak_flops_per_core": hardware.unit_flops_per_second,
        "cores": len(hardware.units),
    }


class Trainer:
    """One schedule on a store of its own."""

    def __init__(self, case: Case, partition: str, schedule: str, compute_dtype: str):
        """Builds, measures if need be, and compiles."""
        from layup_jax.clock import WallClock
        from layup_jax.config import validated
        from layup_jax.engine.engine import Moment
        from layup_jax.pipeline.base import Parts, Work
        from layup_jax.pipeline.delays import Delays
        from layup_jax.pipeline.make import make_pipeline
        from layup_jax.pipeline.ratio import measure_passes
        from layup_jax.run import choose_partition, prepare
        from layup_jax.schedule import configured_schedule
        from layup_jax.steps import Steps
        from layup_jax.store import ParameterStore

        is_reference = schedule == REFERENCE
        config = validated(
            {
                "model": {"name": case.model, "options": case.options},
                "partition": partition,
                "compute_dtype": compute_dtype,
                "strategy": {"name": "local"},
                "pipeline": REFERENCE if is_reference else "decoupled",
                "threads": {} if is_reference else {"ratio": schedule},
                "optimizer": {"learning_rate": 0.01},
            }
        )
        self._task = _task(case, config)
        self._batches = _batches(case)
        chosen = choose_partition(config, self._task, self._batches[0])
        self._engine = prepare(self._task, config, chosen, 1).engine
        self.segments = len(self._engine)
        self._reasons: list[str] = []
        self._store = ParameterStore(self._engine.init())
        parts = Parts(self._engine, self._store, WallClock(), lambda event: None)
        self._pipeline = make_pipeline(
            configured_schedule(config),
            parts,
            measure=lambda: measure_passes(self._engine, self._batches[0], Delays()),
            cores=len(allowed_cores()),
            on_change=self._reasons.append,
        )
        self._pipeline.warm_up(Work(self._batches[0], Moment(0, 0, 0)))
        self._store.restart(self._engine.init())
        self._steps = Steps(self.segments)
        self._numbers = itertools.count()

    def block(self, count: int) -> Block:
        """Trains so many steps."""
        before, start, busy = self._pipeline.statistics(), time.perf_counter(), time.process_time()
        for result in self._pipeline.run(self._works(count)):
            self._steps.add(result)
        self._store_is_computed()
        seconds = time.perf_counter() - start
        cores = (time.process_time() - busy) / seconds
        after = self._pipeline.statistics()
        if after.times is None or after.queue is None:
            return Block(seconds / count, cores)
        return _block(seconds / count, cores, count, before, after)

    def close(self) -> None:
        """Ends its threads."""
        self._pipeline.close()

    def found(self) -> dict[str, Any]:
        """What it was, how stale its updates were, and why it chose what it chose."""
        return {
            "schedule": self._pipeline.describe(),
            "histogram": self._steps.staleness_histogram(),
            "reasons": self._reasons,
        }

    def step_flops(self) -> float | None:
        """Of forward and backward pass, without the update."""
        from layup_jax.engine.flops import step_flops

        return step_flops(self._task.model, self._task.loss, self._batches[0])

    def passes(self) -> dict[str, float]:
        """Seconds of a forward and of a backward pass with nothing beside them."""
        from layup_jax.pipeline.delays import Delays
        from layup_jax.pipeline.ratio import measure_passes

        return measure_passes(self._engine, self._batches[0], Delays())._asdict()

    def _store_is_computed(self) -> None:
        """Waits for devices, if there are any."""
        import jax

        jax.block_until_ready(self._store.snapshot())

    def _works(self, count: int) -> Iterator[Any]:
        from layup_jax.engine.engine import Moment
        from layup_jax.pipeline.base import Work

        for _ in range(count):
            step = next(self._numbers)
            yield Work(self._batches[step % len(self._batches)], Moment(0, 0, step))


def _block(step_seconds: float, cores: float, count: int, before: Any, after: Any) -> Block:
    """The difference between two statistics of a decoupled schedule."""
    from layup_jax.staleness import measured_delay

    def mean(name: str) -> float:
        """Means since the start, undone to this block."""
        taken = after.queue.taken
        old = 0.0 if before.times is None else getattr(before.times, name) * (taken - count)
        return (getattr(after.times, name) * taken - old) / count

    delay = measured_delay(after.times.started_seconds, after.times.updated_seconds)
    return Block(
        step_seconds=step_seconds,
        cores_busy=cores,
        forward_seconds=mean("forward_seconds"),
        backward_seconds=mean("backward_seconds"),
        delay_seconds=delay,
        full_seconds=(after.queue.full_seconds - before.queue.full_seconds) / count,
        empty_seconds=(after.queue.empty_seconds - before.queue.empty_seconds) / count,
        slot_seconds=(after.store_seconds - before.store_seconds) / count,
    )


def _task(case: Case, config: Any) -> Any:
    from layup_jax.losses import cross_entropy
    from layup_jax.models import MODELS
    from layup_jax.optimizers import make_optimizer
    from layup_jax.task import Task
    from layup_jax.training import build_task

    if case.shape is None:
        return build_task(config)
    model = MODELS[case.model](case.shape, case.classes, **case.options)
    return Task(model, cross_entropy, make_optimizer(config.optimizer, None))


def _batches(case: Case) -> list[Any]:
    """Digits in fixed batches, or one batch that is made up; on the device, as from a run's loader."""
    import jax

    from layup_jax.config import validated
    from layup_jax.data import Batch, make_loader
    from layup_jax.training import loader_spec

    if case.shape is not None:
        return [jax.device_put(Batch(*_made_up(case)))]
    config = validated({"batch_size": case.batch_size})
    loader = make_loader(loader_spec(config, 0, 1))
    return [jax.device_put(batch) for batch in itertools.islice(loader, _BATCHES)]


def _made_up(case: Case) -> tuple[Any, Any]:
    """Images of noise, or tokens in any order whose next ones are to be told."""
    import numpy as np

    assert case.shape is not None
    draw, shape = np.random.default_rng(0), (case.batch_size, *case.shape)
    if len(case.shape) == 1:
        tokens = draw.integers(0, case.classes, size=(2, *shape), dtype=np.int32)
        return tokens[0], tokens[1]
    labels = draw.integers(0, case.classes, size=case.batch_size, dtype=np.int32)
    return draw.normal(size=shape).astype(np.float32), labels


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
