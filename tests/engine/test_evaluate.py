"""Evaluation of whole models, and the weighted mean over workers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from layup_jax.engine.engine import Engine
from layup_jax.engine.evaluate import (
    Model,
    consensus_distance,
    contribution,
    contribution_size,
    mean_model,
    model_of,
)
from layup_jax.losses import accuracy
from layup_jax.strategies import Local


@pytest.fixture(scope="module")
def engine():
    return Engine(tiny.normed_model(), [(0, 2), (2, 3), (3, 4)], tiny.loss, Local(tiny.sgd()))


def _other(model, seed):
    """A model of the same shape with random numbers in it."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), model)


def _assert_close(left, right):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), left, right)


def test_contribution_and_mean_model_are_inverse(engine):
    model = _other(model_of(engine.init()), 0)
    vector = contribution(model, [jnp.float32(1)] * 3)
    assert vector.shape == (contribution_size(model),)
    mean, weights = mean_model(vector, model)
    _assert_close(mean, model)
    np.testing.assert_array_equal(weights, [1, 1, 1])


def test_the_mean_is_weighted_segment_by_segment(engine):
    like = model_of(engine.init())
    models = [_other(like, seed) for seed in range(3)]
    weights = np.array([[1, 0.5, 2], [1, 2.5, 0.25], [1, 0, 0.75]], np.float32)
    total = sum(contribution(m, list(w)) for m, w in zip(models, weights, strict=True))
    mean, sums = mean_model(total, like)
    np.testing.assert_array_equal(sums, weights.sum(axis=0))
    for segment in range(3):
        share = weights[:, segment] / weights[:, segment].sum()
        for found, *each in zip(mean, *models, strict=True):
            expected = jax.tree.map(
                lambda *leaves, share=share: np.tensordot(share, np.stack(leaves), 1),
                *(part[segment] for part in each),
            )
            _assert_close(found[segment], expected)


def test_the_mean_keeps_dtypes():
    params = ({"a": jnp.ones(3, jnp.bfloat16), "b": jnp.ones((), jnp.float32)},)
    model = Model(params, ({"count": jnp.asarray(4, jnp.int32)},))
    mean, _ = mean_model(3 * contribution(model, [jnp.float32(1)]) / 3, model)
    assert jax.tree.map(jnp.result_type, mean) == jax.tree.map(jnp.result_type, model)
    _assert_close(mean, model)


def test_segments_without_arrays_have_a_mean():
    model = Model(((), ({"kernel": jnp.ones(2)},)), ((), ()))
    mean, weights = mean_model(contribution(model, [jnp.float32(1)] * 2), model)
    _assert_close(mean, model)
    assert weights.shape == (2,)


def test_consensus_distance_is_the_norm_over_parameters_only(engine):
    model = _other(model_of(engine.init()), 0)
    moved = Model(jax.tree.map(lambda leaf: leaf + 2, model.params), _other(model, 1).model_states)
    count = sum(leaf.size for leaf in jax.tree.leaves(model.params))
    np.testing.assert_allclose(consensus_distance(model, moved), 2 * np.sqrt(count), rtol=1e-6)
    assert consensus_distance(model, model) == 0


def _in_one_piece(engine, model, data):
    outputs = data.inputs
    for segment, params, state in zip(engine.segments, *model, strict=True):
        outputs, _ = segment.apply(params, state, outputs, training=False)
    return tiny.loss(outputs, data), accuracy(outputs, data)


@pytest.mark.parametrize("samples", [1, 255, 256, 600])
def test_chunks_give_the_means_over_all_samples(engine, samples):
    model, data = model_of(engine.init()), tiny.features(samples)
    found = engine.evaluator(model, data)
    np.testing.assert_allclose(found, _in_one_piece(engine, model, data), rtol=1e-6)
    assert isinstance(found.loss, float)


def test_a_sample_is_judged_without_its_neighbours(engine):
    """Running statistics and no dropout: the mean over parts is the value of the whole."""
    model, data = model_of(engine.init()), tiny.features(10)
    parts = [
        engine.evaluator(model, type(data)(data.inputs[i : i + 1], data.labels[i : i + 1]))
        for i in range(10)
    ]
    np.testing.assert_allclose(engine.evaluator(model, data), np.mean(parts, axis=0), rtol=1e-6)


def test_measuring_compiles_once_for_chunks_and_once_for_the_rest(engine, compilations):
    model, data = model_of(engine.init()), tiny.features(256 * 3 + 7)
    other = _other(model, 0)
    engine.evaluator(model, data)
    with compilations() as compiled:
        engine.evaluator(other, data)
    assert compiled == []
