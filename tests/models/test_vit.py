"""Vision transformers: the published size, each layer against plain numpy, equal blocks."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from layup_jax.data import Batch
from layup_jax.errors import ConfigError
from layup_jax.losses import cross_entropy
from layup_jax.models import MODELS, vit, vit_s16
from layup_jax.models.check import check_model
from layup_jax.tree import num_parameters

WIDTH, HEADS, PATCH = 6, 3, 2


@pytest.fixture
def model():
    return vit((4, 6, 2), 5, patch=PATCH, width=WIDTH, depth=3, heads=HEADS)


@pytest.fixture
def run(double, model):
    """(layer, inputs) -> (its parameters, what it returns), all in float64 and with no zeros."""

    def run(index, inputs):
        segment = model.segment(index, index + 1)
        rng = np.random.default_rng(index)
        params, model_state = tiny.widened(segment.init())
        params = jax.tree.map(
            lambda leaf: np.asarray(leaf) + 0.1 * rng.normal(size=leaf.shape), params
        )
        apply = jax.jit(partial(segment.apply, training=True))
        outputs, _ = apply(params, model_state, inputs)
        return params[0], np.asarray(outputs)

    return run


def _close(left, right):
    np.testing.assert_allclose(left, right, rtol=1e-12, atol=1e-14)  # float64 on both sides


def _linear(params, inputs):
    return inputs @ params["kernel"] + params["bias"]


def _normed(params, inputs):
    deviations = inputs - inputs.mean(-1, keepdims=True)
    variance = np.mean(deviations**2, -1, keepdims=True)
    return deviations / np.sqrt(variance + 1e-6) * params["scale"] + params["bias"]


def _attention(params, tokens):
    """One sample's (tokens, features), head by head."""
    queries, keys, values = np.split(_linear(params["inputs"], tokens), 3, axis=-1)
    size, heads = WIDTH // HEADS, []
    for start in range(0, WIDTH, size):
        part = slice(start, start + size)
        weights = np.exp(queries[:, part] @ keys[:, part].T / math.sqrt(size))
        heads.append(weights / weights.sum(-1, keepdims=True) @ values[:, part])
    return _linear(params["outputs"], np.concatenate(heads, axis=-1))


def _block(params, tokens):
    tokens = tokens + _attention(params["attention"], _normed(params["norm1"], tokens))
    hidden = _linear(params["linear1"], _normed(params["norm2"], tokens))
    hidden = hidden * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2))) / 2
    return tokens + _linear(params["linear2"], hidden)


def test_has_the_published_number_of_parameters():
    def params():
        model = vit_s16((224, 224, 3), 1000)
        return [model.segment(index, index + 1).init()[0] for index in range(len(model))]

    shapes = jax.eval_shape(params)
    assert num_parameters(shapes) == 22_050_664
    assert len(shapes) == 14


def test_are_registered():
    assert MODELS["vit"] is vit
    assert MODELS["vit_s16"] is vit_s16


def test_patches_go_row_by_row_behind_the_class_token(run):
    images = np.random.default_rng(0).normal(size=(2, 4, 6, 2))
    params, outputs = run(0, images)
    assert outputs.shape == (2, 1 + 2 * 3, WIDTH)
    positions = params["positions"][0]
    for sample, image in zip(outputs, images, strict=True):
        _close(sample[0], params["token"][0, 0] + positions[0])
        for place in range(6):
            row, column = (PATCH * each for each in divmod(place, 3))
            patch = image[row : row + PATCH, column : column + PATCH].reshape(-1)
            _close(sample[1 + place], _linear(params["linear"], patch) + positions[1 + place])


def test_a_block_is_attention_and_perceptron_each_with_its_normalisation_and_shortcut(run):
    tokens = np.random.default_rng(0).normal(size=(2, 5, WIDTH))
    params, outputs = run(1, tokens)
    for sample, given in zip(outputs, tokens, strict=True):
        _close(sample, _block(params, given))


def test_logits_are_those_of_the_class_token(run):
    tokens = np.random.default_rng(0).normal(size=(2, 5, WIDTH))
    params, outputs = run(4, tokens)
    assert outputs.shape == (2, 5)
    _close(outputs, _linear(params["linear"], _normed(params["norm"], tokens[:, 0])))


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_equal_blocks_are_equal_segments(dropout):
    model = vit((4, 4, 1), 3, patch=2, width=4, depth=3, heads=2, dropout=dropout)
    segments = [model.segment(index, index + 1) for index in range(len(model))]
    assert segments[1] == segments[2] == segments[3]
    assert len(set(segments)) == 3
    assert [segment.is_random for segment in segments] == [dropout > 0] * 4 + [False]


def test_dropout_draws_anew_each_time_it_is_applied():
    model = vit((4, 4, 1), 3, patch=2, width=4, depth=1, heads=2, dropout=0.5)
    segment = model.segment(1, 2)
    (params,), model_state = segment.init()
    # The attention adds 1 and the perceptron 2, doubled or dropped each by itself.
    params = jax.tree.map(jnp.zeros_like, params)
    params["attention"]["outputs"]["bias"] = jnp.ones(4)
    params["linear2"]["bias"] = jnp.full(4, 2.0)
    inputs = jnp.zeros((16, 5, 4))
    apply = jax.jit(segment.apply, static_argnames="training")
    outputs, _ = apply((params,), model_state, inputs, jax.random.key(0), training=True)
    assert set(np.unique(outputs)) == {0.0, 2.0, 4.0, 6.0}
    outputs, _ = apply((params,), model_state, inputs, training=False)
    assert set(np.unique(outputs)) == {3.0}


def test_fits_the_digits():
    batch = Batch(np.zeros((2, 8, 8, 1), np.float32), np.zeros(2, np.int32))
    check_model(vit((8, 8, 1), 10, patch=4, width=8, depth=2, heads=2), cross_entropy, batch)


@pytest.mark.parametrize(
    ("shape", "options", "sentence"),
    [
        (
            (32, 30, 3),
            {},
            "a vision transformer needs images that its patches fill, got patches of 16x16 and images "
            "of 32x30; change the patch or resize the images",
        ),
        (
            (32, 32, 3),
            {"heads": 5},
            "a vision transformer needs a number of heads that divides its width, got 5 heads and "
            "width 384; change one of them",
        ),
        (
            (200,),
            {},
            "a vision transformer needs images of (height, width, channels), got shape (200,); use "
            "another model",
        ),
        (
            (32, 32, 3),
            {"depth": 0},
            "the depth of a vision transformer must be at least 1, got 0; raise it",
        ),
    ],
)
def test_refuses_what_does_not_fit(shape, options, sentence):
    with pytest.raises(ConfigError) as caught:
        vit(shape, 10, **options)
    assert str(caught.value) == sentence
