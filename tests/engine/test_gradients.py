"""Layer-wise gradients equal jax.grad of the whole model, in float64."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import nnx

from layup_jax.clock import WallClock
from layup_jax.engine.engine import Engine, Moment
from layup_jax.models import LayeredModel, partition_layers
from layup_jax.models.conv import Classifier
from layup_jax.models.resnet import Bottleneck, Stem
from layup_jax.pipeline.base import Parts, Work
from layup_jax.pipeline.interleaved import Interleaved
from layup_jax.store import ParameterStore
from layup_jax.types import Exchange

MOMENT = Moment(seed=5, rank=2, step=7)


def norm(num_features, rngs):
    return nnx.GroupNorm(num_features, num_groups=2, rngs=rngs)


def resnet_model():
    options = {"norm": norm, "rngs": nnx.Rngs(0)}
    stem = Stem(1, 4, kind="imagenet", **options)
    blocks = [Bottleneck(4, 2, stride=2, **options), Bottleneck(8, 2, stride=1, **options)]
    head = Classifier(8, tiny.NUM_CLASSES, dropout=0.0, rngs=nnx.Rngs(1))
    return LayeredModel([stem, *blocks, head])


CASES = tiny.MODELS | {"resnet": (resnet_model, partial(tiny.features, shape=(16, 16, 1)))}


def _close(left, right):
    # float64 rounds at 2e-16; sums over a batch in another order lose a few digits of that.
    np.testing.assert_allclose(left, right, rtol=1e-12, atol=1e-15)


def _key(segment):
    key = jax.random.key(MOMENT.seed)
    for value in (MOMENT.rank, MOMENT.step, segment):
        key = jax.random.fold_in(key, value)
    return key


def _whole_loss(params, engine, states, batch):
    outputs, model_states = batch.inputs, []
    for index, segment in enumerate(engine.segments):
        outputs, after = segment.apply(
            params[index], states[index].model_state, outputs, _key(index), training=True
        )
        model_states.append(after)
    return tiny.loss(outputs, batch), tuple(model_states)


def _oracle(engine, batch):
    states = engine.init()
    params = tuple(state.params for state in states)

    def run(params):
        return _whole_loss(params, engine, states, batch)

    (loss, model_states), grads = jax.jit(jax.value_and_grad(run, has_aux=True))(params)
    return loss, grads, model_states


def _engine(name, spec, asks=Exchange):
    make, batch = CASES[name]
    model = make()
    partition = partition_layers(spec, [1] * len(model))
    return Engine(model, partition, tiny.loss, tiny.Keeper(asks)), tiny.widened(batch())


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        *(("normed", spec) for spec in ("layer", "model", 2, 3)),
        ("token", "layer"),
        ("token", 2),
        ("conv", "layer"),
        ("mlp", "model"),
        *((name, "layer") for name in ("vit", "lstm", "resnet")),
    ],
)
def test_a_step_yields_the_gradient_of_the_whole_model(double, name, spec):
    engine, batch = _engine(name, spec)
    loss, grads, model_states = _oracle(engine, batch)
    store = ParameterStore(engine.init())
    result = Interleaved(Parts(engine, store, WallClock(), lambda event: None)).step(
        Work(batch, MOMENT)
    )
    _close(result.loss, loss)
    for index, state in enumerate(store.snapshot()):
        assert all(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(state.mixing))
        jax.tree.map(_close, state.mixing, grads[index])
        jax.tree.map(_close, state.model_state, model_states[index])


@pytest.mark.parametrize(("name", "asks"), [("normed", Exchange), ("token", None)])
def test_a_turn_is_a_forward_and_a_backward(double, name, asks):
    engine, batch = _engine(name, 2, asks)
    _, passed = engine.forward(0, engine.init()[0], batch.inputs, batch, MOMENT)
    before = engine.init()[1]
    model_state, last = engine.forward(1, before, passed.outputs, batch, MOMENT)
    state, cotangent = engine.backward(1, before, last, None, 0.0)
    turned, loss, turned_cotangent = engine.turn(
        engine.init()[1], passed.outputs, batch, MOMENT, 0.0
    )
    _close(loss, last.outputs)
    jax.tree.map(_close, turned, state._replace(model_state=model_state))
    jax.tree.map(_close, turned_cotangent, cotangent)


def test_integers_and_masks_get_no_cotangent(double):
    engine, batch = _engine("token", "layer")
    _, passed = engine.forward(0, engine.init()[0], batch.inputs, batch, MOMENT)
    _, inner = engine.forward(1, engine.init()[1], passed.outputs, batch, MOMENT)
    # One for each of hidden and skip, none for mask and tokens.
    cotangent = [jnp.ones((8, 5, 4)), jnp.ones((8, 5, 4))]
    _, before = engine.backward(1, engine.init()[1], inner, cotangent, 0.0)
    assert [each.shape for each in before] == [(8, 5, 4), (8, 5, 4)]
    _, nothing = engine.backward(0, engine.init()[0], passed, before, 0.0)
    assert nothing == []


def test_random_numbers_differ_by_seed_rank_step_and_segment():
    model = tiny.normed_model()
    engine = Engine(model, [(i, i + 1) for i in range(4)], tiny.loss, tiny.Keeper(Exchange))
    state, batch = engine.init()[1], tiny.features()

    def outputs(segment, moment):
        _, passed = engine.forward(segment, state, batch.inputs, batch, moment)
        return np.asarray(passed.outputs).tobytes()

    moments = [Moment(0, 0, 0), Moment(1, 0, 0), Moment(0, 1, 0), Moment(0, 0, 1)]
    drawn = {outputs(1, moment) for moment in moments} | {outputs(2, moments[0])}
    assert len(drawn) == 5
    assert outputs(1, moments[3]) in drawn


def test_bfloat16_layers_pass_bfloat16_between_segments():
    halve = [lambda x: x.astype(jnp.bfloat16), jnp.tanh, lambda x: x.astype(jnp.float32)]
    model = tiny.LayeredModel([*tiny.mlp_model(2).layers[:1], *halve, tiny.mlp_model(2).layers[1]])
    engine = Engine(model, [(i, i + 1) for i in range(5)], tiny.loss, tiny.Keeper(Exchange))
    store, batch = ParameterStore(engine.init()), tiny.features()
    result = Interleaved(Parts(engine, store, WallClock(), lambda event: None)).step(
        Work(batch, MOMENT)
    )
    assert np.isfinite(result.loss)
    grads = [state.mixing for state in store.snapshot()]
    assert {leaf.dtype for leaf in jax.tree.leaves(grads)} == {jnp.dtype("float32")}
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(grads[0]))
