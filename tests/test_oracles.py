"""Whole runs of synchronous methods against their equations, written down once more in a few lines.

`Reference` holds one parameter pytree for each worker and knows nothing of engines and transports.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
from local_runs import flat, make_config

import layup_jax
from layup_jax.data import Batch
from layup_jax.run import run_local
from layup_jax.topology import OnePeerExponential, complete, ring

WORKERS = 4
RATE = 0.2


def _batch(rank, turn):
    return tiny.features(seed=WORKERS * turn + rank)


def _batches(rank, num_workers):
    del num_workers
    turn = 0
    while True:
        yield _batch(rank, turn)
        turn += 1


def _joined(turn, workers=WORKERS):
    """The batches of all workers as one."""
    parts = [_batch(rank, turn) for rank in range(workers)]
    return Batch(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def _run(strategy, steps, *, partition="layer", optimizer=None, workers=WORKERS, data=_batches):
    task = layup_jax.Task(tiny.mlp_model(), tiny.loss, optimizer or optax.sgd(RATE))
    config = make_config(
        partition=partition,
        strategy=strategy,
        stop={"steps": steps},
        evaluation={"every_steps": 0},
    )
    run = run_local(task, data, num_workers=workers, config=config)
    return flat(run.model), run.summary


def _model(strategy, steps, **options):
    return _run(strategy, steps, **options)[0]


def _assert_same(left, right):
    np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("partition", "workers", "optimizer"),
    [("layer", 4, "momentum"), ("model", 2, "momentum"), (2, 4, "adamw"), ("model", 4, "adamw")],
)
def test_ddp_is_one_worker_with_a_large_batch(partition, workers, optimizer):
    optimizer = {"momentum": optax.sgd(0.05, momentum=0.9), "adamw": optax.adamw(0.01)}[optimizer]

    def large(rank, num_workers):
        del rank, num_workers
        turn = 0
        while True:
            yield _joined(turn, workers)
            turn += 1

    options = {"partition": partition, "optimizer": optimizer}
    model, summary = _run({"name": "ddp"}, 50, workers=workers, **options)
    assert summary.consensus_distance == 0
    _assert_same(model, _model({"name": "local"}, 50, workers=1, data=large, **options))


def test_local_sgd_that_averages_after_every_step_is_ddp():
    """For plain SGD: the mean of the steps is the step on the mean."""
    _assert_same(_model({"name": "local_sgd", "period": 1}, 30), _model({"name": "ddp"}, 30))


def test_slowmo_without_momentum_is_local_sgd():
    slowmo = {"name": "slowmo", "period": 4, "outer_momentum": 0.0}
    _assert_same(_model(slowmo, 20), _model({"name": "local_sgd", "period": 4}, 20))


def test_diloco_without_momentum_at_every_step_is_averaging():
    diloco = {"name": "diloco", "period": 1, "outer_learning_rate": 1.0, "outer_momentum": 0.0}
    adam = optax.adam(0.01)
    averaging = _model({"name": "local_sgd", "period": 1}, 20, optimizer=adam)
    _assert_same(_model(diloco, 20, optimizer=adam), averaging)


def test_streaming_diloco_of_one_fragment_that_waits_is_diloco():
    streaming = {"period": 5, "fragments": 1, "delay_steps": 0, "local_share": 0.0}
    left = _model({"name": "streaming_diloco"} | streaming, 20)
    _assert_same(left, _model({"name": "diloco", "period": 5}, 20))


def test_post_local_sgd_averages_every_step_before_it_is_local():
    switched = {"name": "local_sgd", "period": 5, "local_from": 10}
    early = _model({"name": "local_sgd", "period": 1}, 10)
    _assert_same(_model(switched, 10), early)
    late, summary = _run(switched, 18)
    assert not np.allclose(late, _model({"name": "local_sgd", "period": 1}, 18), atol=1e-4)
    assert summary.messages_sent == WORKERS * 4 * (10 + 1)  # of 4 segments, the last at step 15


class Reference:
    """Workers as a list of flat vectors."""

    def __init__(self):
        model = tiny.mlp_model()
        segment = model.segment(0, len(model))
        params, model_state = segment.init()
        vector, self._restore = jax.flatten_util.ravel_pytree(params)
        self.workers = [np.asarray(vector)] * WORKERS

        def loss(vector, batch):
            restored = self._restore(vector)
            outputs, _ = segment.apply(restored, model_state, batch.inputs, None, training=True)
            return tiny.loss(outputs, batch)

        self._gradient = jax.jit(jax.grad(loss))

    def steps(self, workers, turn):
        """-RATE times each worker's gradient."""
        pairs = [(vector, _batch(rank, turn)) for rank, vector in enumerate(workers)]
        return [-RATE * np.asarray(self._gradient(jnp.asarray(x), batch)) for x, batch in pairs]

    def trained(self, start, turns):
        """All workers from one start, each alone."""
        workers = [start] * WORKERS
        for turn in turns:
            moves = self.steps(workers, turn)
            workers = [x + move for x, move in zip(workers, moves, strict=True)]
        return workers

    def mean(self):
        return np.mean(self.workers, axis=0)

    def distance(self):
        """As summaries state it: root mean square over workers of the distance to the mean."""
        apart = np.array(self.workers) - self.mean()
        return np.sqrt(np.mean(np.sum(apart**2, axis=1)))


def _assert_is(reference, strategy, steps):
    for partition in ("model", "layer"):
        model, summary = _run(strategy, steps, partition=partition)
        _assert_same(model, reference.mean())
        assert summary.consensus_distance == pytest.approx(reference.distance(), abs=1e-5)


@pytest.mark.parametrize("momentum", [0.0, 0.6])
def test_co2_is_slowmo_delayed_by_one_round(momentum):
    reference, rounds, period = Reference(), 5, 3
    starts = [reference.workers[0]] * 2
    slow = 0.0
    for turn in range(rounds):
        turns = range(turn * period, (turn + 1) * period)
        mean = np.mean(reference.trained(starts[turn], turns), axis=0)
        slow = momentum * slow + (starts[turn] - mean)
        starts.append(starts[-1] - 0.9 * slow)
    options = {"period": period, "outer_momentum": momentum, "outer_learning_rate": 0.9}
    reference.workers = [starts[-1]] * WORKERS  # what is under way at the end is merged
    _assert_is(reference, {"name": "co2"} | options, rounds * period)


@pytest.mark.parametrize("momentum", [0.0, 0.6])
def test_slowmo_is_its_equations(momentum):
    reference, rounds, period = Reference(), 4, 3
    start, slow = reference.workers[0], 0.0
    for turn in range(rounds):
        mean = np.mean(reference.trained(start, range(turn * period, (turn + 1) * period)), axis=0)
        slow = momentum * slow + (start - mean) / RATE
        start = start - 0.9 * RATE * slow
    reference.workers = [start] * WORKERS
    options = {"period": period, "outer_momentum": momentum, "outer_learning_rate": 0.9}
    _assert_is(reference, {"name": "slowmo"} | options, rounds * period)


def test_co2_clips_its_momentum():
    reference, clip = Reference(), 0.01
    start = reference.workers[0]
    mean = np.mean(reference.trained(start, range(2)), axis=0)
    reference.workers = [start - np.clip(start - mean, -clip, clip)] * WORKERS
    assert np.max(np.abs(start - mean)) > clip
    _assert_is(
        reference, {"name": "co2", "period": 2, "outer_learning_rate": 1.0, "outer_clip": clip}, 2
    )


def test_d_psgd_is_its_equation():
    reference = Reference()
    mixing = ring(WORKERS).mixing_matrix()
    for turn in range(12):
        moves = reference.steps(reference.workers, turn)
        mixed = mixing @ np.array(reference.workers)
        reference.workers = list(mixed + np.array(moves))
    # The round asked for after the last step is merged at the end.
    reference.workers = list(mixing @ np.array(reference.workers))
    _assert_is(reference, {"name": "d_psgd", "topology": "ring"}, 12)


def _push_matrix(topology, turn):
    matrix = np.eye(WORKERS)
    for rank in range(WORKERS):
        for target in topology.targets(rank, turn):
            matrix[target, rank] = 1
    return matrix / matrix.sum(axis=0)


@pytest.mark.parametrize("make", [OnePeerExponential, ring, complete])
def test_sgp_is_its_equation_and_keeps_weight_1_on_regular_graphs(make):
    reference, topology = Reference(), make(WORKERS)
    for turn in range(12):
        moves = reference.steps(reference.workers, turn)
        matrix = _push_matrix(topology, turn)
        reference.workers = list(matrix @ (np.array(reference.workers) + np.array(moves)))
    _assert_is(reference, {"name": "sgp", "topology": topology.name}, 12)


def test_osgp_is_its_equation():
    """With x and w apart, each message a round late, and the gradient at z = x / w applied to x."""
    reference, topology = Reference(), OnePeerExponential(WORKERS)
    numerators, weights = np.array(reference.workers), np.ones(WORKERS)
    late = (np.zeros_like(numerators), np.zeros(WORKERS))
    for turn in range(12):
        current = list(numerators / weights[:, None])
        numerators = numerators + np.array(reference.steps(current, turn)) + late[0]
        weights = weights + late[1]
        matrix = _push_matrix(topology, turn)
        given = matrix - np.diag(np.diag(matrix))
        late = (given @ numerators, given @ weights)
        numerators = np.diag(matrix)[:, None] * numerators
        weights = np.diag(matrix) * weights
    numerators, weights = numerators + late[0], weights + late[1]
    reference.workers = list(numerators / weights[:, None])
    assert np.allclose(weights, 1, atol=1e-3)  # it has returned to 1
    _assert_is(reference, {"name": "osgp"}, 12)
