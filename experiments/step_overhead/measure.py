"""One process of the experiment: times the steps of one network, or its compilation, and prints JSON.

    python -m experiments.step_overhead.measure '{"case": "mlp", "bind": "cores", ...}'

A fresh process for each, because binding, memory and compilation are matters of a whole process.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments.harness import paired_rounds
from experiments.pd_asgd.timing import MADE_UP
from layup_jax.host import allowed_cores, die_with_parent, prepare_host

if TYPE_CHECKING:
    from layup_jax.engine.sharding import LocalMesh

_LATER_STEPS = 3


class Case(NamedTuple):
    """A network at one size.

    Attributes:
      input_shape: of one sample: of an image, or the number of tokens of a text.
      batch_size: samples of a step.
      model: name in layup_jax.models.
      options: of its builder.
      narrow: options that leave it nothing to compute, layer for layer; None for large ones.
      partitions: measured besides "layer" and "model".
      measures_memory: whether to measure what a step needs.
      classes: of an image, or the vocabulary: 256 bytes and the end of a document.
      depths: smaller and larger number of equal blocks at which to time compilation; () for neither.
    """

    input_shape: tuple[int, ...]
    batch_size: int
    model: str
    options: dict[str, Any]
    narrow: dict[str, Any] | None
    partitions: tuple[str, ...] = ()
    measures_memory: bool = False
    depths: tuple[int, ...] = ()
    classes: int = 10

    @property
    def is_text(self) -> bool:
        """Whether a sample is tokens, with a label for each."""
        return len(self.input_shape) == 1


CASES = {
    "mlp": Case((8, 8, 1), 64, "mlp", {"width": 512, "depth": 12}, {"width": 1, "depth": 12}),
    "conv": Case((8, 8, 1), 32, "conv", {}, {"channels": (1,) * 5}),
    "resnet18": Case((32, 32, 3), 32, "resnet18", {}, {"width": 1}, measures_memory=True),
    "gpt": Case(
        (128,),
        16,
        "gpt",
        {"depth": 4, "width": 128},
        {"depth": 4, "width": 4},
        measures_memory=True,
        depths=(12, 48),
        classes=257,
    ),
    "laptop_gpt": Case((256,), 8, "gpt", {}, {"width": 4}, measures_memory=True, classes=257),
    "tiny_mlp": Case(
        (8, 8, 1), 32, "mlp", {"width": 64, "depth": 12}, {"width": 1, "depth": 12}, ("auto",)
    ),
}


def _at_size_of_paper(name: str) -> Case:
    each = MADE_UP[name]
    assert each.shape is not None
    measured = {"measures_memory": True, "classes": each.classes}
    return Case(each.shape, each.batch_size, each.model, each.options, None, **measured)


LARGE = {name: _at_size_of_paper(name) for name in ("resnet50", "gpt2")}  # for one accelerator


class Job(NamedTuple):
    """What one process does.

    Attributes:
      case: name in CASES or LARGE.
      bind: cores | none; "cores" is one core, as a worker has it on a full machine.
      compile: the partition whose compilation is to be timed; None to time steps.
      depth: of the network then; None leaves it.
      memory: the partition whose memory is to be measured; None to time steps.
      rounds: of paired timings.
      seconds: of one timing, about: short, so that those of a round meet the same noise.
      seed: of data and orders.
      compute_dtype: float32 | bfloat16.
    """

    case: str
    bind: str
    compile: str | None = None
    depth: int | None = None
    memory: str | None = None
    rounds: int = 9
    seconds: float = 0.25
    seed: int = 0
    compute_dtype: str = "float32"

    @property
    def network(self) -> Case:
        """The case of that name."""
        return (CASES | LARGE)[self.case]


class Trainer:
    """A worker's compute, alone: engine, store and pipeline, made as a run makes them."""

    def __init__(
        self,
        case: Case,
        spec: str,
        compute_dtype: str,
        *,
        learning_rate: float = 0.01,
        mesh: LocalMesh | None = None,
    ):
        """Builds; `spec` is a partition, of which "model" is the fused step."""
        from layup_jax.clock import WallClock
        from layup_jax.config import OptimizerConfig, validated
        from layup_jax.engine.sharding import ONE_DEVICE
        from layup_jax.losses import cross_entropy
        from layup_jax.models import MODELS
        from layup_jax.optimizers import make_optimizer
        from layup_jax.pipeline.base import Parts
        from layup_jax.pipeline.interleaved import Interleaved
        from layup_jax.run import choose_partition, prepare
        from layup_jax.store import ParameterStore
        from layup_jax.task import Task

        model = MODELS[case.model](case.input_shape, case.classes, **case.options)
        optimizer = make_optimizer(OptimizerConfig(learning_rate=learning_rate), None)
        task = Task(model, cross_entropy, optimizer)
        name = "fused" if spec == "model" else "local"
        config = validated(
            {"partition": spec, "strategy": {"name": name}, "compute_dtype": compute_dtype}
        )
        batches = _batches(case)
        self.chosen = choose_partition(config, task, batches[0])
        self._batches = itertools.cycle(batches)
        engine = prepare(task, config, self.chosen, 1, mesh=mesh or ONE_DEVICE).engine
        self._store = ParameterStore(engine.init())
        self._pipeline = Interleaved(Parts(engine, self._store, WallClock(), lambda event: None))
        self._steps = 0

    def seconds_per_step(self, count: int) -> float:
        """Trains so many steps and waits for the last one."""
        import jax

        from layup_jax.engine.engine import Moment
        from layup_jax.pipeline.base import Work

        start = time.perf_counter()
        for _ in range(count):
            self._pipeline.step(Work(next(self._batches), Moment(0, 0, self._steps)))
            self._steps += 1
        jax.block_until_ready(self._store.snapshot())
        return (time.perf_counter() - start) / count


def _batches(case: Case) -> list[Any]:
    """Made up, and on the device, as a run's loader leaves them."""
    import jax

    from layup_jax.data import Batch

    random = np.random.default_rng(0)
    shape = (case.batch_size, *case.input_shape)

    def integers(shape: tuple[int, ...]) -> np.ndarray:
        return random.integers(case.classes, size=shape, dtype=np.int32)

    def batch() -> Batch:
        if case.is_text:
            return Batch(integers(shape), integers(shape))
        return Batch(random.random(shape, np.float32), integers(shape[:1]))

    return [jax.device_put(batch()) for _ in range(8)]


def compile_seconds(job: Job, spec: str) -> float:
    """Seconds of the first step beyond those of a later one."""
    case = job.network
    if job.depth is not None:
        case = case._replace(batch_size=2, options={**case.options, "depth": job.depth})
    _start_backend()
    return _first_step(Trainer(case, spec, job.compute_dtype))


def _first_step(trainer: Trainer) -> float:
    """Its seconds beyond those of a later one."""
    first = trainer.seconds_per_step(1)
    return first - statistics.median(trainer.seconds_per_step(1) for _ in range(_LATER_STEPS))


def memory_bytes(job: Job, spec: str) -> dict[str, int]:
    """The most memory of steps, beyond what there was before the network: measured, and as XLA counts."""
    _start_backend()
    return {"measured": _measured_bytes(job, spec), "counted": _counted_bytes(job, spec)}


def _counted_bytes(job: Job, spec: str) -> int:
    from experiments.step_overhead.weighed import WeighedMesh

    mesh = WeighedMesh()
    Trainer(job.network, spec, job.compute_dtype, mesh=mesh).seconds_per_step(2)
    return mesh.peak_bytes


def _measured_bytes(job: Job, spec: str) -> int:
    """On CPUs resident memory; what compilation has left on the heap is given back before.

    Of an accelerator its own allocator's peak, over building and steps.
    """
    import jax

    before = _resident("VmRSS")
    trainer = Trainer(job.network, spec, job.compute_dtype)
    trainer.seconds_per_step(2)
    device = jax.local_devices()[0].memory_stats()  # None of a CPU
    if device is not None:
        return device["peak_bytes_in_use"]
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    trainer.seconds_per_step(_LATER_STEPS)
    return _resident("VmHWM") - before


def _start_backend() -> None:
    import jax

    jax.block_until_ready(jax.jit(lambda x: x + 1)(np.zeros(2)))


def _resident(name: str) -> int:
    """Bytes, as Linux counts them for this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(name)]
    return 1024 * int(line.split()[1])


def step_seconds(job: Job) -> dict[str, Any]:
    """Times steps in paired rounds; where bound, those of the narrow network too, if there is one."""
    case = job.network
    trainers = {
        spec: Trainer(case, spec, job.compute_dtype)
        for spec in ("layer", "model", *case.partitions)
    }
    chosen = {spec: trainer.chosen for spec, trainer in trainers.items()}
    if job.bind == "cores" and case.narrow is not None:
        narrow = case._replace(batch_size=2, options=case.narrow)
        for spec in ("layer", "model"):
            trainers[f"narrow_{spec}"] = Trainer(narrow, spec, job.compute_dtype, learning_rate=0.0)
    compiled = {name: _first_step(trainer) for name, trainer in trainers.items()}
    measures = {name: _timing(trainer, job.seconds) for name, trainer in trainers.items()}
    return {
        "compile_seconds": compiled,
        "rounds": paired_rounds(measures, rounds=job.rounds, seed=job.seed),
        "segments": {spec: len(each.partition) for spec, each in chosen.items()},
        "partitions": {spec: each.description for spec, each in chosen.items()},
    }


def _timing(trainer: Trainer, seconds: float) -> Callable[[int], float]:
    count = max(2, round(seconds / trainer.seconds_per_step(1)))
    return lambda _seed: trainer.seconds_per_step(count)


def run(job: Job) -> Any:
    """Does what one process does."""
    cores = len(allowed_cores())
    prepare_host(job.bind, 0, cores if job.bind == "cores" else 1)
    if job.memory:
        return memory_bytes(job, job.memory)
    return compile_seconds(job, job.compile) if job.compile else step_seconds(job)


if __name__ == "__main__":
    die_with_parent()
    json.dump(run(Job(**json.loads(sys.argv[1]))), sys.stdout)
