"""GPT-2: published numbers of parameters, causality, and a plain computation of the same logits."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from layup_jax.errors import ConfigError
from layup_jax.models import MODELS, gpt
from layup_jax.models.gpt import SIZES
from layup_jax.tree import num_parameters

PUBLISHED = {
    "small": 124_439_808,
    "medium": 354_823_168,
    "large": 774_030_080,
    "xl": 1_557_611_200,
}


def _params(model):
    return model.segment(0, len(model)).init()[0]


@pytest.fixture(scope="module")
def small():
    return gpt((16,), 11, depth=2, width=12, heads=3)


def _outputs(model, params, tokens):
    segment = model.segment(0, len(model))
    run = jax.jit(partial(segment.apply, training=False))
    return run(params, segment.init()[1], tokens)[0]


@pytest.mark.parametrize("name", SIZES)
def test_numbers_of_parameters_are_the_published_ones(name):
    """Blocks are equal, and tables have a row for each token and position: few of each give all sizes."""
    depth, width, heads = SIZES[name]

    def params():
        model = gpt((2,), 3, depth=1, width=width, heads=heads)
        return [model.segment(index, index + 1).init()[0] for index in range(3)]

    sizes = [num_parameters(each) for each in jax.eval_shape(params)]
    assert sizes[0] == (2 + 3) * width
    rows = 1024 + 50257
    assert rows * width + depth * sizes[1] + sizes[2] == PUBLISHED[name]


def test_blocks_are_equal_and_the_head_has_no_matrix():
    model = gpt((8,), 5, depth=3, width=8, heads=2, dropout=0.1)
    assert model.segment(1, 2) == model.segment(2, 3) == model.segment(3, 4)
    assert set(_params(model)[-1]) == {"norm"}


def test_no_token_sees_a_later_one(small):
    params = _params(small)
    tokens = np.arange(16)[None] % 11
    changed = tokens.copy()
    changed[0, 9:] = 3
    before, after = _outputs(small, params, tokens), _outputs(small, params, changed)
    np.testing.assert_array_equal(before[0, :9], after[0, :9])
    assert np.all(np.any(before[0, 9:] != after[0, 9:], axis=-1))


def test_shorter_sequences_have_the_same_logits(small):
    params, tokens = _params(small), np.arange(16)[None] % 11
    np.testing.assert_allclose(
        _outputs(small, params, tokens)[:, :5],
        _outputs(small, params, tokens[:, :5]),
        atol=1e-6,
    )


def _norm(inputs, params):
    mean, variance = inputs.mean(-1, keepdims=True), inputs.var(-1, keepdims=True)
    return (inputs - mean) / np.sqrt(variance + 1e-5) * params["scale"] + params["bias"]


def _linear(inputs, params):
    return inputs @ params["kernel"] + params["bias"]


def _attention(inputs, params, heads):
    length, width = inputs.shape
    query, key, value = np.split(_linear(inputs, params["inputs"]), 3, axis=-1)
    outputs, size = np.zeros_like(inputs), width // heads
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        scores = query[:, part] @ key[:, part].T / np.sqrt(size)
        weights = np.exp(scores) * np.tri(length)
        outputs[:, part] = weights / weights.sum(-1, keepdims=True) @ value[:, part]
    return _linear(outputs, params["outputs"])


def _gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def test_logits_are_those_of_a_plain_computation(small):
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape) * 0.3, _params(small))
    tokens = rng.integers(0, 11, 16)
    table = params[0]["tokens"]["embedding"]
    outputs = table[tokens] + params[0]["positions"]["embedding"]
    for block in params[1:-1]:
        outputs = outputs + _attention(_norm(outputs, block["norm1"]), block["attention"], 3)
        hidden = _gelu(_linear(_norm(outputs, block["norm2"]), block["perceptron"]["inputs"]))
        outputs = outputs + _linear(hidden, block["perceptron"]["outputs"])
    expected = _norm(outputs, params[-1]["norm"]) @ table.T
    given = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)
    found = _outputs(small, given, tokens[None])
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"depth": 0}, "depth of a GPT must be at least 1, got 0; raise it"),
        ({"heads": 0}, "heads of a GPT must be at least 1, got 0; raise it"),
        ({"width": 10, "heads": 3}, "divides its width, got 3 heads and width 10; change one"),
        ({"dropout": 1.0}, r"the dropout of a model must be in \[0, 1\), got 1.0; change it"),
    ],
)
def test_impossible_sizes_are_refused(options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        gpt((8,), 5, **options)


def test_images_are_refused():
    with pytest.raises(ConfigError, match=r"a GPT needs sequences of tokens, .* got \(8, 8, 1\)"):
        gpt((8, 8, 1), 5)


def test_unknown_sizes_are_refused():
    with pytest.raises(
        ConfigError, match="unknown size 'huge'; use one of: large, medium, small, xl"
    ):
        MODELS["gpt2"]((8,), 5, size="huge")
