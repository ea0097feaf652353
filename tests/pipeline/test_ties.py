"""Layers that share an array: its gradient is the sum of both, and there is one of it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
from flax import nnx
from schedules import Bench, decoupled, shared

from layup_jax.clock import WallClock
from layup_jax.draws import Draws
from layup_jax.engine.engine import Engine, Moment
from layup_jax.engine.evaluate import model_of
from layup_jax.engine.recording import digest
from layup_jax.engine.replay import Replay
from layup_jax.errors import ModelError
from layup_jax.models import LayeredModel, partition_layers
from layup_jax.models.check import check_model
from layup_jax.pipeline.base import Parts, Work
from layup_jax.pipeline.interleaved import Interleaved
from layup_jax.store import ParameterStore
from layup_jax.strategies import Local

FEATURES, TOKENS = 4, 7
MOMENT = Moment(3, 0, 0)
TIED = {"2.inner.kernel": "0.kernel", "-1.matrix": "0.kernel"}


class Table(nnx.Module):
    def __init__(self, rngs):
        self.kernel = nnx.Param(jax.random.normal(rngs.params(), (FEATURES, FEATURES), jnp.float32))
        self.bias = nnx.Param(jnp.ones(FEATURES, jnp.float32))

    def __call__(self, inputs):
        return inputs @ self.kernel[...] + self.bias[...][None]


class Inner(nnx.Module):
    def __init__(self, rngs):
        self.inner = nnx.Linear(FEATURES, FEATURES, rngs=rngs)

    def __call__(self, inputs):
        return jnp.tanh(self.inner(inputs))


class Transposed(nnx.Module):
    def __init__(self, rngs):
        self.matrix = nnx.Param(jnp.zeros((FEATURES, FEATURES), jnp.float32))
        self.scale = nnx.Param(jax.random.normal(rngs.params(), (FEATURES,), jnp.float32))

    def __call__(self, inputs):
        return (inputs * self.scale[...][None]) @ self.matrix[...].T


def _layers():
    rngs = nnx.Rngs(0)
    return [
        Table(rngs),
        tiny.Normed(FEATURES, FEATURES, rngs=rngs),
        Inner(rngs),
        jnp.sin,
        Transposed(rngs),
    ]


def _model():
    return LayeredModel(_layers(), tied=TIED)


def _oracle(batch, cut):
    """Gradients of an untied model whose three matrices are equal; keys are those of the segments."""
    model = LayeredModel(_layers())
    params, model_state = tiny.widened(model.segment(0, 5).init())
    params[2]["inner"]["kernel"] = params[4]["matrix"] = params[0]["kernel"]

    def loss(params):
        outputs = batch.inputs
        for index, (start, stop) in enumerate(cut):
            key = jax.random.key(MOMENT.seed)
            for value in (MOMENT.rank, MOMENT.step, index):
                key = jax.random.fold_in(key, value)
            part = slice(start, stop)
            segment = model.segment(start, stop)
            outputs, _ = segment.apply(params[part], model_state[part], outputs, key, training=True)
        return tiny.loss(outputs, batch)

    loss, grads = jax.value_and_grad(loss)(params)
    inner, last = grads[2]["inner"].pop("kernel"), grads[4].pop("matrix")
    grads[0]["kernel"] = grads[0]["kernel"] + inner + last
    return loss, grads


@pytest.mark.parametrize(
    ("schedule", "spec"),
    [
        *((Interleaved, spec) for spec in ("layer", "model", 2, 3, 4)),
        *((decoupled(1, 1, 1), spec) for spec in ("layer", 2)),
        *((decoupled(weights="live"), spec) for spec in ("layer", 2)),
    ],
)
def test_the_gradient_is_the_sum_over_all_places(double, schedule, spec):
    batch = tiny.widened(tiny.features())
    cut = partition_layers(spec, [1] * 5)
    loss, grads = _oracle(batch, cut)
    engine = Engine(_model(), cut, tiny.loss, tiny.Keeper())
    store = ParameterStore(engine.init())
    pipeline = schedule(Parts(engine, store, WallClock(), lambda event: None))
    (result,) = pipeline.run([Work(batch, MOMENT)])
    pipeline.close()
    np.testing.assert_allclose(result.loss, loss, rtol=1e-12)
    found = [layer for state in store.snapshot() for layer in state.mixing]
    assert jax.tree.structure(found) == jax.tree.structure(list(grads))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-14), found, list(grads)
    )


def test_there_is_one_of_it():
    params, _ = _model().segment(0, 5).init()
    assert set(params[0]) == {"kernel", "bias"}
    assert set(params[4]) == {"scale"}
    assert set(params[2]["inner"]) == {"bias"}
    engine = Engine(_model(), partition_layers("layer", [1] * 5), tiny.loss, Local(tiny.sgd()))
    sizes = [sum(leaf.size for leaf in jax.tree.leaves(state.params)) for state in engine.init()]
    assert sizes == [20, 20 + 8, 4, 0, 4]


def test_equal_segments_still_compile_once_and_ties_tell_them_apart():
    rngs = nnx.Rngs(0)
    layers = [Table(rngs), *(tiny.Normed(4, 4, rngs=rngs) for _ in range(2)), Transposed(rngs)]
    tied = LayeredModel(layers, tied={"3.matrix": "0.kernel"})
    untied = LayeredModel(layers)
    assert tied.segment(1, 2) == tied.segment(2, 3) == untied.segment(1, 2)
    assert tied.segment(3, 4) != untied.segment(3, 4)
    assert tied.segment(0, 1) != untied.segment(0, 1)


@pytest.mark.parametrize("schedule", [Interleaved, decoupled(2, 2, 2), shared(2, partial_from=1)])
def test_training_evaluation_and_replay(schedule):
    model = _model()
    strategy = Local(optax.sgd(0.02, momentum=0.5))  # whatever the staleness: this converges
    engine = Engine(model, partition_layers(3, [1] * 5), tiny.loss, strategy)
    bench, batch = Bench(engine, schedule), tiny.features()
    before = engine.evaluator(model_of(bench.store.snapshot()), batch)
    bench.train(40, batch)
    bench.pipeline.close()
    trained = model_of(bench.store.snapshot())
    after = engine.evaluator(trained, batch)
    assert after.loss < before.loss
    outputs = model.predict(trained, batch.inputs)
    np.testing.assert_allclose(tiny.loss(outputs, batch), after.loss, rtol=1e-5)
    states = Replay(engine, bench.recording, Draws(0, 0)).run(iter([batch] * 40))
    assert digest(states) == digest(bench.store.snapshot())


@pytest.mark.parametrize(
    ("tied", "words"),
    [
        ({"-1.matrx": "0.kernel"}, "layer 4 must have the tied parameter 'matrx', .* 'matrix'"),
        ({"-1.matrix": "0.kernl"}, "layer 0 must have the tied parameter 'kernl', .* 'kernel'"),
        ({"9.matrix": "0.kernel"}, "index of a layer, 0 to 4, got '9.matrix'"),
        ({"head.matrix": "0.kernel"}, "index of a layer, 0 to 4, got 'head.matrix'"),
        ({"-1.scale": "0.kernel"}, r"float32\[4\] for '-1.scale' and float32\[4, 4\]"),
        ({"0.kernel": "-1.matrix"}, "comes first, got '-1.matrix' as owner"),
        (
            {"-1.matrix": "2.inner.kernel", "2.inner.kernel": "0.kernel"},
            "must not be tied itself, got '2.inner.kernel'",
        ),
        ([("-1.matrix", "0.kernel")], r"must map names of parameters to names, got \[\("),
        ({"-1.matrix": 0}, "must map names of parameters to names, got {'-1.matrix': 0}; write"),
    ],
)
def test_what_cannot_be_tied_is_said_in_a_sentence(tied, words):
    with pytest.raises(ModelError, match=words):
        LayeredModel(_layers(), tied=tied)


def test_a_model_is_checked_with_its_ties():
    check_model(_model(), tiny.loss, tiny.features())
    *layers, last = _layers()
    model = LayeredModel([*layers, lambda x: x[:, :3], last], tied={"-1.matrix": "0.kernel"})
    with pytest.raises(
        ModelError, match=r"05-Transposed cannot take float32\[8, 3\] from layer 04"
    ):
        check_model(model, tiny.loss, tiny.features())
