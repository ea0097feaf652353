"""Layered models and segments: what a layer may be, purity, equality, one compilation for equals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import linen, nnx

from layup_jax.engine.engine import Engine, Moment
from layup_jax.errors import ModelError
from layup_jax.models import LayeredModel
from layup_jax.strategies import Local

KEY = jax.random.key(3)


def whole(model):
    return model.segment(0, len(model))


def assert_trees_equal(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    jax.tree.map(np.testing.assert_array_equal, left, right)


@pytest.fixture(params=tiny.MODELS)
def case(request):
    make, batch = tiny.MODELS[request.param]
    return make(), batch()


def test_functions_are_layers_without_arrays():
    model = LayeredModel([jnp.tanh, lambda x: 2 * x])
    assert model.names == ("00-tanh", "01-lambda")
    outputs, _ = whole(model).apply(*whole(model).init(), jnp.ones(3), training=True)
    np.testing.assert_allclose(outputs, 2 * np.tanh(np.ones(3)), rtol=1e-6)
    assert jax.tree.leaves(whole(model).init()) == []


def test_layers_are_named_by_place_and_kind():
    model = tiny.token_model()
    assert model.names == ("00-Embed", "01-Mixed", "02-Mixed", "03-pooled", "04-Linear")
    assert model.segment(1, 2).name == "01-Mixed"
    assert model.segment(1, 4).name == "01-Mixed..03-pooled"


def test_refuses_no_layers_and_things_that_are_none():
    with pytest.raises(ModelError, match=r"at least 1 layer, got 0"):
        LayeredModel([])
    with pytest.raises(
        ModelError, match=r"must be a list of nnx modules, got Sequential; pass its"
    ):
        LayeredModel(nnx.Sequential(jnp.tanh))
    with pytest.raises(ModelError, match=r"layer 1 must be an nnx.Module or a function, got int"):
        LayeredModel([jnp.tanh, 3])
    with pytest.raises(
        ModelError, match=r"layer 0 must be a module of flax.nnx, got Dense of flax"
    ):
        LayeredModel([linen.Dense(3)])


def test_refuses_layers_that_share_parameters_but_not_what_has_none():
    rngs = nnx.Rngs(0)
    tied, dropout = nnx.Linear(4, 4, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)
    LayeredModel([tied, dropout, jnp.tanh, nnx.Linear(4, 4, rngs=rngs), dropout, jnp.tanh])
    sentence = (
        r"must not share parameters, got '\w+' both in layer 00-Linear and in 02-Linear; make"
    )
    with pytest.raises(ModelError, match=sentence):
        LayeredModel([tied, jnp.tanh, tied])


def test_equals_the_flax_modules_it_was_made_of():
    rngs = nnx.Rngs(0)
    layers = [tiny.Normed(4, 4, rngs=rngs), jnp.tanh, nnx.Linear(4, 3, rngs=rngs)]
    segment, inputs = whole(LayeredModel(layers)), tiny.features().inputs
    params, before = segment.init()
    for training in (True, False):
        outputs, after = segment.apply(params, before, inputs, KEY, training=training)
        sequence = nnx.clone(nnx.Sequential(*layers))
        sequence.train() if training else sequence.eval()
        key = jax.random.split(jax.random.fold_in(KEY, 0), 1)[0]
        nnx.reseed(sequence, default=key, dropout=key)
        np.testing.assert_allclose(outputs, sequence(jnp.asarray(inputs)), rtol=1e-6)
        np.testing.assert_allclose(
            after[0]["norm"]["mean"], sequence.layers[0].norm.mean[...], rtol=1e-6
        )


def test_apply_is_pure(case):
    model, batch = case
    segment = whole(model)
    params, model_state = segment.init()
    given = jax.tree.map(np.copy, (params, model_state, batch.inputs))
    first = segment.apply(params, model_state, batch.inputs, KEY, training=True)
    second = segment.apply(params, model_state, batch.inputs, KEY, training=True)
    assert_trees_equal(first, second)
    assert_trees_equal(given, (params, model_state, batch.inputs))
    assert_trees_equal((params, model_state), segment.init())


def test_apply_keeps_the_shapes_of_the_model_state(case):
    model, batch = case
    segment = whole(model)
    params, before = segment.init()
    for training in (True, False):
        _, after = segment.apply(params, before, batch.inputs, KEY, training=training)
        assert jax.tree.structure(after) == jax.tree.structure(before)
        assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, before)


def test_running_statistics_move_in_training_only():
    segment = whole(tiny.normed_model())
    params, before = segment.init()
    inputs = tiny.features().inputs
    _, after = segment.apply(params, before, inputs, KEY, training=True)
    assert not np.array_equal(after[0]["norm"]["mean"], before[0]["norm"]["mean"])
    _, after = segment.apply(params, before, inputs, training=False)
    assert_trees_equal(after, before)


def test_dropout_follows_the_key_and_is_off_in_evaluation():
    segment = whole(tiny.normed_model())
    arguments = (*segment.init(), tiny.features().inputs)
    assert segment.is_random
    first, _ = segment.apply(*arguments, jax.random.key(0), training=True)
    other, _ = segment.apply(*arguments, jax.random.key(1), training=True)
    assert not np.array_equal(first, other)
    unkeyed, _ = segment.apply(*arguments, training=False)
    keyed, _ = segment.apply(*arguments, KEY, training=False)
    np.testing.assert_array_equal(unkeyed, keyed)


def test_equal_layers_of_one_segment_drop_different_units():
    ones = [nnx.Dropout(0.5, rngs=nnx.Rngs(0)) for _ in range(2)]
    inputs = jnp.ones((1, 64))

    def kept(layers):
        segment = whole(LayeredModel(layers))
        return segment.apply(*segment.init(), inputs, KEY, training=True)[0]

    once, twice = kept(ones[:1]), kept(ones)
    assert 0 < np.count_nonzero(twice) < np.count_nonzero(once)


def test_a_random_segment_is_told_apart():
    assert not whole(tiny.mlp_model()).is_random
    assert not tiny.token_model().segment(3, 5).is_random
    assert tiny.token_model().segment(2, 5).is_random


def test_initial_values_are_copies():
    segment = whole(tiny.mlp_model())
    jax.tree.map(lambda leaf: leaf.delete(), segment.init())
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(segment.init()))


def test_any_pytree_goes_between_layers():
    model = tiny.token_model()
    segment = model.segment(0, 3)
    outputs, _ = segment.apply(*segment.init(), tiny.tokens().inputs, KEY, training=True)
    dtypes = {name: part.dtype for name, part in outputs.items()}
    assert dtypes == {"hidden": "float32", "skip": "float32", "mask": "bool", "tokens": "int32"}


def test_equality_is_of_structure_not_of_values():
    first, again = tiny.normed_model(), tiny.normed_model()
    segments = [first.segment(index, index + 1) for index in range(4)]
    assert segments[0] == segments[1] == again.segment(2, 3)
    assert len(set(segments)) == 2
    assert first.segment(0, 2) == again.segment(1, 3)
    assert first.segment(0, 2) != first.segment(0, 3)
    assert tiny.normed_model(dropout=0.1).segment(0, 1) != segments[0]
    assert segments[0] != "a segment"


def test_one_compilation_serves_six_equal_blocks(compilations):
    model, batch = tiny.normed_model(depth=7), tiny.features()
    engine = Engine(model, [(i, i + 1) for i in range(8)], tiny.loss, Local(tiny.sgd()))
    states = list(engine.init())

    def forward(index, inputs):
        _, passed = engine.forward(index, states[index], inputs, batch, Moment(0, 0, 0))
        return passed

    # The first block differs from its equals: nobody wants the gradient of its inputs.
    passed = [forward(0, batch.inputs)]
    with compilations() as forwards:
        for index in range(1, 7):
            passed.append(forward(index, passed[-1].outputs))
    assert forwards == ["jit(_forward)"]
    _, _, cotangent = engine.turn(states[7], passed[-1].outputs, batch, Moment(0, 0, 0), 0.0)
    with compilations() as backwards:
        for index in range(6, 0, -1):
            _, cotangent = engine.backward(index, states[index], passed[index], cotangent, 0.0)
    assert backwards == ["jit(_backward)"]


def test_equal_blocks_with_other_shapes_are_not_mixed_up():
    double = lambda x: 2 * x  # noqa: E731
    model = LayeredModel([double, lambda x: jnp.concatenate([x, x], axis=-1), double])
    engine = Engine(model, [(i, i + 1) for i in range(3)], tiny.loss, Local(tiny.sgd()))
    inputs, batch = jnp.ones((2, 3)), tiny.features(2)
    for index, state in enumerate(engine.init()[:2]):
        _, passed = engine.forward(index, state, inputs, batch, Moment(0, 0, 0))
        inputs = passed.outputs
    assert inputs.shape == (2, 6)
    _, passed = engine.forward(2, engine.init()[2], inputs, batch, Moment(0, 0, 0))
    assert np.isfinite(passed.outputs)
