"""One process of the experiment: steps of all schedules in turn, XLA held to one thread; prints JSON.

    python -m experiments.pd_asgd.timing '{"case": "conv", "rounds": 9, ...}'

NPROC=1 and XLA_FLAGS=--xla_cpu_multi_thread_eigen=false hold XLA to one thread for each thread of ours.

All schedules live in one process and take turns in blocks of steps, so that a slow minute hits all alike.
"""

from __future__ import annotations

import itertools
import json
import random
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from layup_jax.host import allowed_cores, die_with_parent, prepare_host

NUM_CLASSES = 10
REFERENCE = "interleaved"
AUTO = "auto"
RATIOS = ("1:1", "1:2", "1:3")
PARTITIONS = ("layer", "model")
_BATCHES = 20


class Case(NamedTuple):
    """A network at one size: its name in layup_jax.models, options, and samples of a step."""

    model: str
    options: dict[str, Any]
    batch_size: int


CASES = {
    "conv": Case("conv", {}, 128),
    "mlp": Case("mlp", {"width": 512, "depth": 12}, 256),
}


class Job(NamedTuple):
    """What one process does.

    Attributes:
      case: name in CASES.
      rounds: of blocks.
      steps: of a block.
      seed: of orders and data.
    """

    case: str
    rounds: int = 9
    steps: int = 40
    seed: int = 0


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
    trainers = {
        f"{schedule} {partition}": Trainer(CASES[job.case], partition, schedule)
        for partition in PARTITIONS
        for schedule in (REFERENCE, *RATIOS, AUTO)
    }
    blocks: dict[str, list[dict[str, Any]]] = {name: [] for name in trainers}
    order = random.Random(job.seed)
    for turn in range(job.rounds + 1):
        for name in order.sample(sorted(trainers), len(trainers)):
            block = trainers[name].block(job.steps)
            if turn:  # the first one warms caches
                blocks[name].append(block._asdict())
    found = {name: each.close() for name, each in trainers.items()}
    from layup_jax.hardware import core_peak

    layer = trainers[f"{REFERENCE} layer"]
    return {
        "blocks": blocks,
        "schedules": {name: each["schedule"] for name, each in found.items()},
        "staleness_histograms": {name: each["histogram"] for name, each in found.items()},
        "reasons": {name: each["reasons"] for name, each in found.items() if each["reasons"]},
        "batch_size": CASES[job.case].batch_size,
        "segments": layer.segments,
        "step_flops": layer.step_flops(),
        "peak_flops_per_core": core_peak("float32"),
        "cores": len(allowed_cores()),
    }


class Trainer:
    """One schedule on a store of its own."""

    def __init__(self, case: Case, partition: str, schedule: str):
        """Builds, measures if need be, and compiles."""
        from layup_jax.clock import WallClock
        from layup_jax.config import validated
        from layup_jax.engine.engine import Moment
        from layup_jax.pipeline.base import Parts, Work
        from layup_jax.pipeline.make import make_pipeline
        from layup_jax.pipeline.ratio import measure_passes
        from layup_jax.run import choose_partition, prepare
        from layup_jax.schedule import configured_schedule
        from layup_jax.steps import Steps
        from layup_jax.store import ParameterStore
        from layup_jax.training import build_task

        is_reference = schedule == REFERENCE
        config = validated(
            {
                "model": {"name": case.model, "options": case.options},
                "partition": partition,
                "strategy": {"name": "local"},
                "pipeline": REFERENCE if is_reference else "decoupled",
                "threads": {} if is_reference else {"ratio": schedule},
                "optimizer": {"learning_rate": 0.01},
            }
        )
        self._task = build_task(config)
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
            measure=lambda: measure_passes(self._engine, self._batches[0]),
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
        seconds = time.perf_counter() - start
        cores = (time.process_time() - busy) / seconds
        after = self._pipeline.statistics()
        if after.times is None or after.queue is None:
            return Block(seconds / count, cores)
        return _block(seconds / count, cores, count, before, after)

    def close(self) -> dict[str, Any]:
        """Ends its threads; what it was, how stale its updates were, and why it chose what it chose."""
        self._pipeline.close()
        return {
            "schedule": self._pipeline.describe(),
            "histogram": self._steps.staleness_histogram(),
            "reasons": self._reasons,
        }

    def step_flops(self) -> float | None:
        """Of forward and backward pass, without the update."""
        from layup_jax.engine.flops import step_flops

        return step_flops(self._task.model, self._task.loss, self._batches[0])

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


def _batches(case: Case) -> list[Any]:
    """Digits, in fixed batches."""
    from layup_jax.config import validated
    from layup_jax.data import make_loader
    from layup_jax.training import loader_spec

    config = validated({"batch_size": case.batch_size})
    return list(itertools.islice(make_loader(loader_spec(config, 0, 1)), _BATCHES))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
