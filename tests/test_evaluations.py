"""Evaluations: one's own model at once, the mean model once all have contributed, memory bounded."""

import jax
import numpy as np
import pytest
import tiny

from layup_jax.engine.engine import Engine
from layup_jax.engine.evaluate import model_of
from layup_jax.evaluations import Evaluations
from layup_jax.strategies import LayUpOptions, Local, layup
from layup_jax.topology import complete
from layup_jax.transport.local import local_transports
from layup_jax.transport.reductions import Reductions

LAYERS = [(i, i + 1) for i in range(4)]


@pytest.fixture(scope="module")
def engine():
    return Engine(tiny.normed_model(), LAYERS, tiny.loss, Local(tiny.sgd()))


class Bench:
    """Evaluations of several workers on one thread."""

    def __init__(self, engine, size, test):
        self.reductions = [Reductions(each) for each in local_transports(size)]
        self.records = [[] for _ in range(size)]
        self.workers = [
            Evaluations(engine.evaluator, engine.strategy, reductions, rank, records.append, test)
            for rank, (reductions, records) in enumerate(
                zip(self.reductions, self.records, strict=True)
            )
        ]

    def advance(self):
        for _ in range(2 * len(self.reductions) + 4):
            for each in self.reductions:
                each.advance()


def _states(engine, shift):
    return [
        state._replace(params=jax.tree.map(lambda leaf: leaf + shift, state.params))
        for state in engine.init()
    ]


@pytest.fixture
def bench(engine):
    return Bench(engine, 2, tiny.features(30))


def test_waits_for_nobody_and_reports_when_all_have_contributed(engine, bench):
    first, second = bench.workers
    first.ask(10, 1.5, _states(engine, 0.0))
    bench.advance()
    assert not first.is_due()
    first.collect()
    assert bench.records == [[], []]
    second.ask(20, 2.5, _states(engine, 0.5))
    bench.advance()
    assert first.is_due()
    for each in bench.workers:
        each.collect()
    (one,), (other,) = bench.records
    assert (one.rank, one.step, one.train_seconds) == (0, 10, 1.5)
    assert (other.rank, other.step, other.train_seconds) == (1, 20, 2.5)


def test_measures_the_own_model_the_mean_model_and_the_distance(engine, bench):
    states = [_states(engine, shift) for shift in (0.0, 0.5)]
    for each, mine in zip(bench.workers, states, strict=True):
        each.ask(1, 0.0, mine)
    bench.advance()
    for each in bench.workers:
        each.collect()
    data = tiny.features(30)
    mean = engine.evaluator(model_of(_states(engine, 0.25)), data)
    count = sum(leaf.size for leaf in jax.tree.leaves([s.params for s in states[0]]))
    for rank, (record,) in enumerate(bench.records):
        own = engine.evaluator(model_of(states[rank]), data)
        np.testing.assert_allclose((record.test_loss, record.test_accuracy), own, rtol=1e-6)
        np.testing.assert_allclose(record.consensus_distance, 0.25 * np.sqrt(count), rtol=1e-6)
    assert bench.records[0][0].mean_test_accuracy == pytest.approx(mean.metric, rel=1e-6)
    assert bench.records[1][0].mean_test_accuracy is None
    np.testing.assert_array_equal(bench.workers[0].measured[0].weights, [2, 2, 2, 2])


def test_weights_count(engine):
    """A worker with three quarters of the weight is that much of the mean."""
    strategy = layup(tiny.sgd(), complete(2), LayUpOptions("push_sum"))
    pushing = Engine(tiny.normed_model(), LAYERS, tiny.loss, strategy)
    bench, weights = Bench(pushing, 2, None), (0.5, 1.5)
    for each, weight, shift in zip(bench.workers, weights, (0.0, 1.0), strict=True):
        states = [s._replace(mixing=0 * s.mixing + weight) for s in _states(pushing, shift)]
        each.ask(1, 0.0, states)
    bench.advance()
    for each in bench.workers:
        each.collect()
    distances = [records[0].consensus_distance for records in bench.records]
    assert distances[0] == pytest.approx(3 * distances[1], rel=1e-6)


def test_contributes_to_no_more_than_two_that_are_under_way(engine, bench):
    ahead, behind = bench.workers
    for step in range(1, 6):
        ahead.ask(step, 0.0, _states(engine, 0.0))
    bench.advance()
    assert bench.reductions[0].outstanding == 5
    for step in range(1, 6):
        behind.ask(step, 0.0, _states(engine, 1.0))
        bench.advance()
        behind.collect()
    ahead.collect()
    assert [record.step for record in bench.records[0]] == [1, 2]
    assert [record.step for record in bench.records[1]] == [1, 2, 3, 4, 5]
    alone = [each.weights[0] for each in behind.measured]
    assert alone == [2, 2, 1, 1, 1]


def test_the_model_is_kept_for_the_answer(engine):
    """Training may overwrite the arrays in place meanwhile."""
    bench = Bench(engine, 1, tiny.features(30))
    states = _states(engine, 0.0)
    bench.workers[0].ask(1, 0.0, states)
    jax.tree.map(lambda leaf: leaf.delete(), states)
    bench.advance()
    bench.workers[0].collect()
    assert bench.records[0][0].consensus_distance == pytest.approx(0, abs=1e-6)


def test_finishing_keeps_the_mean_model(engine, bench):
    for each, shift in zip(bench.workers, (0.0, 1.0), strict=True):
        each.ask(1, 0.0, _states(engine, shift))
    bench.advance()
    expected = model_of(_states(engine, 0.5))
    for each in bench.workers:
        assert each.final_mean is None
        measured = each.finish()
        assert measured.step == 1
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6),
            each.final_mean,
            expected,
        )


def test_without_test_data_distances_only(engine):
    bench = Bench(engine, 1, None)
    bench.workers[0].warm_up(engine.init())
    bench.workers[0].ask(1, 0.0, _states(engine, 0.0))
    bench.advance()
    measured = bench.workers[0].finish()
    assert (measured.own, measured.mean) == (None, None)
    record = bench.records[0][0]
    assert np.isnan(record.test_accuracy)
    assert record.mean_test_accuracy is None
    assert record.consensus_distance == pytest.approx(0, abs=1e-6)


def test_warming_up_compiles_everything(engine, compilations):
    bench = Bench(engine, 1, tiny.features(30))
    bench.workers[0].warm_up(engine.init())
    with compilations() as compiled:
        bench.workers[0].ask(1, 0.0, engine.init())
        bench.advance()
        bench.workers[0].collect()
    assert compiled == []


def test_a_look_measures_the_own_model_and_sends_nothing(engine, bench):
    first, second = bench.workers
    states = _states(engine, 0.0)
    own = engine.evaluator(model_of(states), tiny.features(30))
    first.look(10, 1.5, states)
    assert bench.reductions[0].outstanding == 0
    (record,) = bench.records[0]
    assert (record.step, record.train_seconds, record.test_accuracy) == (10, 1.5, own.metric)
    assert (record.mean_test_accuracy, record.consensus_distance) == (None, None)
    assert first.time_to(own.metric, of_mean=False) == 1.5
    assert first.time_to(own.metric, of_mean=True) is None
    for each in (first, second):
        each.ask(20, 2.5, states)
    bench.advance()
    first.finish()
    assert first.time_to(own.metric, of_mean=True) == 2.5
    assert first.time_to(1.1, of_mean=False) is None
