"""The bias that stale gradients bring in, measured on a replayed run, beside the bound of the theory.

    python -m experiments.pd_asgd.bias '{"learning_rate": 0.01, "steps": 150, "seed": 0}'

A run of PD-ASGD on the digits is recorded. Its replay knows which version every segment was read at, so
for each step both gradients on the same batch can be had: at the parameters that were read, which was
used, and at those that stood when the update began. Their difference is the bias of that step.
"""

from __future__ import annotations

import json
import sys
from typing import Any, NamedTuple

from layup_jax.host import die_with_parent, prepare_host


class Job(NamedTuple):
    """One run: plain SGD at this learning rate, so many steps."""

    learning_rate: float
    steps: int = 150
    seed: int = 0
    batch_size: int = 32


def main(arguments: list[str]) -> int:
    """Runs, replays and measures; the exit status."""
    die_with_parent()
    prepare_host("none", 0, 1)
    sys.stdout.write(json.dumps(measure(Job(**json.loads(arguments[0])))) + "\n")
    return 0


class _Watcher:
    """Sees a replay: keeps every version, and compares two gradients of each step."""

    def __init__(self, engine: Any, loss: Any, batches: list[Any]):
        import jax

        self._history = [[state.params] for state in engine.init()]
        self._model_states = [state.model_state for state in engine.init()]
        self._batches = batches
        self._read: dict[int, list[int]] = {}
        self._last = len(engine) - 1
        self.biases: list[float] = []
        self.distances: list[float] = []
        self.norms: list[float] = []
        self.staleness = 0

        def whole(params, batch):
            outputs = batch.inputs
            for segment, each, state in zip(
                engine.segments, params, self._model_states, strict=True
            ):
                outputs, _ = segment.apply(each, state, outputs, training=True)
            return loss(outputs, batch)

        self._gradient = jax.jit(jax.grad(whole))

    def __call__(self, event: Any, state: Any) -> None:
        """After each event of the replay."""
        if event.kind == "forward":
            self._read.setdefault(event.step, []).append(event.version)
            return
        versions = self._read[event.step]
        stale = len(self._history[event.segment]) - 1 - versions[event.segment]
        self.staleness = max(self.staleness, stale)
        if event.segment == self._last:
            self._compare(event.step, versions)
        self._history[event.segment].append(state.params)

    def _compare(self, step: int, versions: list[int]) -> None:
        batch = self._batches[step]
        read = [history[version] for history, version in zip(self._history, versions, strict=True)]
        live = [history[-1] for history in self._history]
        used, fresh = self._gradient(read, batch), self._gradient(live, batch)
        self.biases.append(_distance(used, fresh))
        self.distances.append(_distance(read, live))
        self.norms.append(_distance(used, None))


def _distance(left: Any, right: Any) -> float:
    import jax
    import jax.numpy as jnp

    rest = left if right is None else jax.tree.map(lambda a, b: a - b, left, right)
    return float(jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(rest))))


def measure(job: Job) -> dict[str, Any]:
    """Biases over a run, and the bound evaluated with what the run shows."""
    import itertools

    from layup_jax.config import validated
    from layup_jax.data import make_loader
    from layup_jax.draws import Draws
    from layup_jax.engine.replay import Replay
    from layup_jax.run import Chosen, prepare, run_local
    from layup_jax.staleness import bias_bound
    from layup_jax.training import build_task, loader_spec

    config = validated(
        {
            "batch_size": job.batch_size,
            "seed": job.seed,
            "record": True,
            "partition": "layer",
            "strategy": {"name": "pd_asgd"},
            "optimizer": {"learning_rate": job.learning_rate, "momentum": 0.0},
            "stop": {"steps": job.steps},
            "evaluation": {"every_steps": 0},
        }
    )
    task = build_task(config)

    def load(rank: int, workers: int):
        return iter(make_loader(loader_spec(config, rank, workers)))

    run = run_local(task, load, num_workers=1, config=config)
    assert run.recorded is not None
    chosen = Chosen(run.recorded.partition, "as recorded")
    engine = prepare(task, config, chosen, 1).engine
    batches = list(itertools.islice(load(0, 1), job.steps))
    watcher = _Watcher(engine, task.loss, batches)
    replay = Replay(engine, run.recorded.recording, Draws(job.seed, 0))
    replay.run(iter(batches), watcher)
    moved = [pair for pair in zip(watcher.biases, watcher.distances, strict=True) if pair[1] > 0]
    lipschitz = max((bias / distance for bias, distance in moved), default=0.0)
    norm = max(watcher.norms)
    return {
        "learning_rate": job.learning_rate,
        "test_accuracy": run.summary.test_accuracy,
        "bias_mean": sum(watcher.biases) / len(watcher.biases),
        "bias_max": max(watcher.biases),
        "gradient_norm_max": norm,
        "lipschitz": lipschitz,
        "staleness_max": watcher.staleness,
        "bound": bias_bound(norm, lipschitz, job.learning_rate, watcher.staleness),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
