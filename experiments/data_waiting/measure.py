"""One process of the experiment: trains one worker on real data, and prints how long it waited as JSON.

    python -m experiments.data_waiting.measure '{"case": "digits", "rounds": 9, ...}'

Loader, worker and metrics are those of any run; the process is bound to one core, as on a full machine.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments.harness import paired_rounds
from layup_jax.host import allowed_cores, die_with_parent, prepare_host

if TYPE_CHECKING:
    from layup_jax.data import Loader

AHEAD = {"none": 0, "two": 2}  # batches that are placed ahead
_WORKERS = 4  # of whose shards the first is loaded
_IMAGES = 4096


class Case(NamedTuple):
    """What is trained on what.

    Attributes:
      model: name in layup_jax.models.
      options: of its builder.
      batch_size: samples of a step.
      data: name of a data set; None for images like CIFAR's, of random pixels.
      form: how its records become samples.
    """

    model: str
    options: dict[str, Any]
    batch_size: int
    data: str | None
    form: dict[str, Any]


CASES = {
    "digits": Case("conv", {}, 32, "digits", {}),
    "text": Case("gpt", {"depth": 4, "width": 128, "heads": 4}, 4, "stdlib", {"context": 128}),
    "pictures": Case("conv", {}, 32, None, {"augment": "crop_flip", "normalize": "cifar10"}),
}


class Job(NamedTuple):
    """What one process does.

    Attributes:
      case: name in CASES.
      rounds: of paired runs.
      steps: of a run.
      seed: of data and orders.
    """

    case: str
    rounds: int = 9
    steps: int = 60
    seed: int = 0


class Waited(NamedTuple):
    """Of one run, for each step in seconds: all of it, and the wait for the next batch."""

    step_seconds: float
    data_seconds: float


class _Steps(list):
    """Keeps the lines of metrics that are of steps."""

    def write(self, line: Any) -> None:
        if line.kind == "step":
            self.append(line)


def trained(job: Job, ahead: int, seed: int) -> Waited:
    """One run of one worker."""
    from layup_jax.config import validated
    from layup_jax.losses import cross_entropy
    from layup_jax.models import MODELS
    from layup_jax.optimizers import make_optimizer
    from layup_jax.run import run_local
    from layup_jax.task import Task

    case, lines = CASES[job.case], _Steps()
    config = validated(
        {
            "batch_size": case.batch_size,
            "prefetch": ahead,
            "strategy": {"name": "local"},
            "partition": "layer",
            "optimizer": {"learning_rate": 0.01},
            "stop": {"steps": job.steps},
            "log_every_steps": job.steps,
        }
    )
    shape, num_classes = _looks(case)
    model = MODELS[case.model](shape, num_classes, **case.options)
    task = Task(model, cross_entropy, make_optimizer(config.optimizer, None))
    with _loader(case, seed) as loader:
        run_local(task, lambda *_: loader, num_workers=1, config=config, sinks={0: [lines]})
    line = lines[-1]
    return Waited(line.train_seconds / line.step, line.waiting_seconds["data"] / line.step)


def _looks(case: Case) -> tuple[tuple[int, ...], int]:
    """Shape of a sample, and number of classes."""
    from layup_jax.data import SampleForm, open_data_set

    if case.data is None:
        return (32, 32, 3), 10
    signature = open_data_set(case.data, "train", form=SampleForm(**case.form)).signature
    return signature.input_shape, signature.num_classes


def _loader(case: Case, seed: int) -> Loader:
    from layup_jax.data import LoaderSpec, SampleForm, make_loader

    spec = LoaderSpec(
        case.data or "pictures",
        batch_size=case.batch_size,
        seed=seed,
        num_workers=_WORKERS,
        form=SampleForm(**case.form),
    )
    if case.data is not None:
        return make_loader(spec)
    random = np.random.default_rng(seed)
    images = random.integers(256, size=(_IMAGES, 32, 32, 3), dtype=np.uint8)
    return make_loader(spec, arrays=(images, random.integers(10, size=_IMAGES)))


def run(job: Job) -> dict[str, list[Waited]]:
    """What this process was started for."""
    prepare_host("cores", 0, len(allowed_cores()))
    runs = {name: partial(trained, job, ahead) for name, ahead in AHEAD.items()}
    return paired_rounds(runs, rounds=job.rounds, seed=job.seed)


if __name__ == "__main__":
    die_with_parent()
    json.dump(run(Job(**json.loads(sys.argv[1]))), sys.stdout)
