"""The bidirectional LSTM: its published size, both directions against plain numpy, padding."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from layup_jax.data import Batch
from layup_jax.errors import ConfigError
from layup_jax.losses import cross_entropy
from layup_jax.models import MODELS, lstm
from layup_jax.models.check import check_model
from layup_jax.tree import num_parameters

UNITS = 3
TEXTS = ([5, 1, 4, 2, 3, 6], [7, 7, 1], [2])


@pytest.fixture
def model():
    return lstm((6,), 2, vocabulary=8, width=4, units=UNITS, depth=2)


def padded(texts, length, before=0):
    rows = [[0] * before + text + [0] * (length - before - len(text)) for text in texts]
    return jnp.asarray(rows, jnp.int32)


def logits(model, tokens):
    segment = model.segment(0, len(model))
    params, model_state = tiny.widened(segment.init())
    apply = jax.jit(partial(segment.apply, training=True))
    return np.asarray(apply(params, model_state, tokens)[0])


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def one_direction(params, sequence):
    """Plain numpy: the hidden states of one sample, (time, features) -> (time, units)."""
    hidden, cell, states = np.zeros(UNITS), np.zeros(UNITS), []
    for features in sequence:
        gates = features @ params["inputs"]["kernel"] + params["inputs"]["bias"]
        i, f, g, o = np.split(np.asarray(gates + hidden @ params["recurrent"]), 4)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
        hidden = sigmoid(o) * np.tanh(cell)
        states.append(hidden)
    return np.asarray(states)


def oracle(params, text):
    """Plain numpy: the logits of one sample, which has no padding."""
    embedding, *recurrent, head = params
    features = np.asarray(embedding["table"]["embedding"])[text]
    for layer in recurrent:
        forward = one_direction(layer["forward"], features)
        backward = one_direction(layer["backward"], features[::-1])[::-1]
        features = np.concatenate([forward, backward], axis=-1)
    ends = np.concatenate([forward[-1], backward[0]])
    return ends @ head["linear"]["kernel"] + head["linear"]["bias"]


@pytest.mark.parametrize(("num_classes", "published"), [(1, 2_757_761), (2, 2_757_890)])
def test_has_the_published_number_of_parameters(num_classes, published):
    def params():
        model = lstm((200,), num_classes)
        return [model.segment(index, index + 1).init()[0] for index in range(len(model))]

    shapes = jax.eval_shape(params)
    assert num_parameters(shapes) == published
    assert len(shapes) == 4


def test_is_registered():
    assert MODELS["lstm"] is lstm


def test_equals_an_lstm_that_knows_no_padding(double, model):
    params, _ = tiny.widened(model.segment(0, len(model)).init())
    expected = [oracle(params, text) for text in TEXTS]
    given = logits(model, padded(TEXTS, 6))
    np.testing.assert_allclose(given, expected, rtol=1e-12, atol=1e-15)  # float64 on both sides


@pytest.mark.parametrize("before", [0, 3])
def test_padding_after_or_before_the_text_changes_nothing(model, before):
    given = logits(model, padded(TEXTS, 9, before))
    np.testing.assert_allclose(given, logits(model, padded(TEXTS, 6)), rtol=1e-6)


def test_the_order_of_words_matters_to_both_directions(model):
    segment = model.segment(0, 2)
    params, model_state = segment.init()

    def run(texts):
        tokens = padded(texts, 3)
        apply = jax.jit(partial(segment.apply, training=True))
        return np.asarray(apply(params, model_state, tokens)[0][0])

    first, second = run([[1, 2, 3]]), run([[1, 2, 4]])
    forward, backward = slice(0, UNITS), slice(UNITS, 2 * UNITS)
    np.testing.assert_array_equal(first[:, :2, forward], second[:, :2, forward])
    assert np.all(first[:, 2, forward] != second[:, 2, forward])
    assert np.all(first[:, :, backward] != second[:, :, backward])


def test_a_text_of_nothing_but_padding_has_logits(model):
    assert np.all(np.isfinite(logits(model, jnp.zeros((1, 6), jnp.int32))))


def test_tokens_beyond_the_vocabulary_give_nan(model):
    assert np.all(np.isnan(logits(model, padded([[1, 8]], 6))))


def test_only_the_words_that_occur_learn():
    model = lstm((6,), 2, vocabulary=8, width=4, units=UNITS, depth=1)
    segment = model.segment(0, len(model))
    params, model_state = segment.init()
    batch = Batch(padded([[5, 1], [2]], 6), np.array([0, 1], np.int32))

    @jax.jit
    @jax.grad
    def gradient(params):
        outputs, _ = segment.apply(params, model_state, batch.inputs, training=True)
        return cross_entropy(outputs, batch)

    embedding, *others = gradient(params)
    learns = np.any(np.asarray(embedding["table"]["embedding"]) != 0, axis=-1)
    np.testing.assert_array_equal(np.flatnonzero(learns), [1, 2, 5])
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(others))


def test_equal_layers_are_equal_segments():
    model = lstm((6,), 2, vocabulary=8, width=2 * UNITS, units=UNITS, depth=3)
    segments = [model.segment(index, index + 1) for index in range(len(model))]
    assert segments[1] == segments[2] == segments[3]
    assert len(set(segments)) == 3
    assert not any(segment.is_random for segment in segments)


def test_forget_gates_start_open(model):
    bias = model.layers[1].forward.inputs.bias.get_value()
    np.testing.assert_array_equal(bias, np.repeat([0, 1, 0, 0], UNITS))


def test_fits_its_data_and_loss():
    batch = Batch(np.zeros((2, 200), np.int32), np.zeros(2, np.int32))
    check_model(lstm((200,), 2, width=4, units=2), cross_entropy, batch)


@pytest.mark.parametrize(
    ("shape", "options", "sentence"),
    [
        (
            (8, 8, 1),
            {},
            "an LSTM needs sequences of tokens, of shape (time,), got (8, 8, 1); use another model",
        ),
        ((200,), {"depth": 0}, "the depth of an LSTM must be at least 1, got 0; raise it"),
        ((200,), {"units": -1}, "the units of an LSTM must be at least 1, got -1; raise it"),
    ],
)
def test_refuses_what_does_not_fit(shape, options, sentence):
    with pytest.raises(ConfigError) as caught:
        lstm(shape, 2, **options)
    assert str(caught.value) == sentence
