"""PD-ASGD's schedule: which weights a gradient is of, how stale it is, and how collectives go on it."""

import itertools

import jax
import numpy as np
import optax
import pytest
import tiny
from schedules import Bench, HeldEngine, decoupled, tiny_engine

from layup_jax.models import LayeredModel
from layup_jax.pipeline.decoupled import Decoupled, DecoupledOptions
from layup_jax.pipeline.ratio import Choice, Ratio
from layup_jax.strategies import Local

LAYERS = tuple((i, i + 1) for i in range(4))


def _whole_gradient(engine, params, batch):
    def loss(params):
        outputs = batch.inputs
        for segment, each in zip(engine.segments, params, strict=True):
            outputs, _ = segment.apply(each, segment.init()[1], outputs, training=True)
        return tiny.loss(outputs, batch)

    return jax.grad(loss)(params)


def _moved(params, *gradients):
    return jax.tree.map(lambda x, *g: x - 0.1 * sum(g), params, *gradients)


def _two_forwards_before_any_backward(weights, partition):
    """Two steps whose forward passes both read the initial parameters."""
    model = tiny.mlp_model()
    cut = [(i, i + 1) for i in range(len(model))] if partition == "layer" else [(0, len(model))]
    engine = HeldEngine(model, cut, tiny.loss, Local(optax.sgd(0.1)))
    bench = Bench(engine, decoupled(1, 1, 2, weights=weights))

    def works():
        yield from bench.works(2)
        for _ in range(2):
            assert engine.forwards.acquire(timeout=30)
        engine.go.set()

    results = list(bench.pipeline.run(works()))
    bench.pipeline.close()
    return bench, results


@pytest.mark.parametrize("partition", ["layer", "model"])
def test_stored_weights_are_those_of_the_forward_pass(partition):
    bench, results = _two_forwards_before_any_backward("stored", partition)
    start = [state.params for state in bench.engine.init()]
    gradients = [_whole_gradient(bench.engine, start, tiny.features(seed=i)) for i in range(2)]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        bench.params(),
        _moved(start, *gradients),
    )
    assert [{*result.staleness} for result in results] == [{0}, {1}]


def test_live_weights_are_the_newest():
    bench, results = _two_forwards_before_any_backward("live", "model")
    start = [state.params for state in bench.engine.init()]
    first = _moved(start, _whole_gradient(bench.engine, start, tiny.features(seed=0)))
    second = _moved(first, _whole_gradient(bench.engine, first, tiny.features(seed=1)))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        bench.params(),
        second,
    )
    assert [{*result.staleness} for result in results] == [{0}, {1}]


def test_live_weights_keep_the_inputs_of_the_forward_pass():
    """Of two linear layers the second one's gradient has the first one's old outputs in it."""
    from flax import nnx

    rngs = nnx.Rngs(0)
    model = LayeredModel([nnx.Linear(4, 4, rngs=rngs), nnx.Linear(4, 3, rngs=rngs)])
    engine = HeldEngine(model, [(0, 1), (1, 2)], tiny.loss, Local(optax.sgd(0.1)))
    bench = Bench(engine, decoupled(1, 1, 2, weights="live"))

    def works():
        yield from bench.works(2)
        for _ in range(2):
            assert engine.forwards.acquire(timeout=30)
        engine.go.set()

    list(bench.pipeline.run(works()))
    bench.pipeline.close()

    first, second = engine.segments

    def head_loss(head, hidden, batch):
        return tiny.loss(second.apply(head, second.init()[1], hidden, training=True)[0], batch)

    old, head = first.init()[0], second.init()[0]
    for batch in (tiny.features(seed=seed) for seed in range(2)):
        hidden, _ = first.apply(old, first.init()[1], batch.inputs, training=True)
        head = _moved(head, jax.grad(head_loss)(head, hidden, batch))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), bench.params()[1], head
    )


def test_live_and_stored_differ_in_dropout_by_nothing():
    """Re-linearised with the mask of the forward pass: at the same weights it is the same gradient."""
    engine = tiny_engine()
    stored, live = (Bench(engine, decoupled(weights=each)) for each in ("stored", "live"))
    for bench in (stored, live):
        for step in range(3):
            bench.train(1, first=step)
        bench.pipeline.close()
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        live.params(),
        stored.params(),
    )


class Settling:
    """A strategy's collectives as a worker has them: notes what is merged, and when."""

    def __init__(self):
        self.calls = []

    def __call__(self, segment, step):
        self.calls.append((segment, step))


def test_with_collectives_backward_passes_go_one_at_a_time_in_order():
    settle = Settling()
    bench = Bench(tiny_engine(), decoupled(2, 3, 3), settle=settle)
    bench.train(30)
    bench.pipeline.close()
    expected = list(itertools.product(range(30), (3, 2, 1, 0)))
    assert [(event.step, event.segment) for event in bench.events] == expected
    assert [(step, segment) for segment, step in settle.calls] == expected


class OneChange:
    """A tuner that wants other threads after 50 steps, and only tries them for ten."""

    def __init__(self, ratio):
        self.ratio = ratio
        self.seen = []

    def after_step(self, ratio, now, times):
        found = times()
        assert min(now, found.forward_seconds, found.backward_seconds) > 0
        self.seen.append(ratio)
        trial = {40: Choice(self.ratio), 50: Choice(self.ratio, "because")}
        return trial.get(len(self.seen))


@pytest.mark.parametrize("after", [Ratio(1, 3, 3), Ratio(1, 1, 1)])
def test_a_tuner_changes_threads_while_they_run(after):
    tuner, reasons = OneChange(after), []
    options = DecoupledOptions(Ratio(2, 2, 2), tuner)
    bench = Bench(tiny_engine(), lambda parts: Decoupled(parts, options, reasons.append))
    bench.train(49)
    assert (tuner.seen, reasons) == ([Ratio(2, 2, 2)] * 40 + [after] * 9, [])
    assert len(bench.train(60, first=49)) == 60
    bench.pipeline.close()
    assert set(tuner.seen[40:]) == {after}
    assert reasons == ["step 50: because"]
    assert bench.pipeline.describe() == f"decoupled {after}, stored weights"


def test_says_what_it_is():
    bench = Bench(tiny_engine(), decoupled(1, 2, 3, weights="live"))
    assert bench.pipeline.describe() == "decoupled 1:2, queue 3, live weights"
    assert str(Ratio(2, 3, 4)) == "2:3, queue 4"
