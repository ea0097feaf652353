"""Operations of a step against counts by hand, which have products and convolutions only.

XLA's are larger by what it counts beside: biases, activations, normalisations, softmax, additions. Their
share is small where layers are wide, and each tolerance below is the largest share that is plausible.
"""

import jax
import jax.numpy as jnp
import pytest
import tiny
from flax import nnx

from layup_jax import LayeredModel, run_local
from layup_jax.data import Batch
from layup_jax.engine.flops import step_flops
from layup_jax.losses import cross_entropy
from layup_jax.models import MODELS
from layup_jax.tree import num_parameters
from tests.local_runs import endless_batches, make_config, make_task

CLASSES = 10


def _count(name, input_shape, samples, *, dtype=jnp.float32, labels=(), classes=CLASSES, **options):
    model = MODELS[name](input_shape, classes, **options)
    batch = Batch(
        jax.ShapeDtypeStruct((samples, *input_shape), dtype),
        jax.ShapeDtypeStruct((samples, *labels), jnp.int32),
    )
    return model, step_flops(model, cross_entropy, batch)


def _dense(samples, num_inputs, num_outputs, *, first=False):
    """Outputs, gradient of the kernel and, but for the first layer, of the inputs."""
    return (2 if first else 3) * 2 * samples * num_inputs * num_outputs


def _convolution(samples, size, before, after, *, kernel=3, stride=1, first=False):
    """Likewise; of a kernel only what falls onto the image, row by column, is multiplied."""
    half = kernel // 2
    places = range(0, size, stride)
    taps = sum(0 <= place + tap < size for place in places for tap in range(-half, half + 1))
    return (2 if first else 3) * 2 * samples * taps**2 * before * after


def test_mlp():
    _, count = _count("mlp", (8, 8, 1), 256, width=512, depth=4)
    by_hand = _dense(256, 64, 512, first=True) + 2 * _dense(256, 512, 512) + _dense(256, 512, 10)
    assert by_hand <= count <= 1.01 * by_hand


def test_conv():
    _, count = _count("conv", (8, 8, 1), 128)
    by_hand = sum(
        (
            _convolution(128, 8, 1, 16, first=True),
            _convolution(128, 8, 16, 16),
            _convolution(128, 4, 16, 32),
            _convolution(128, 4, 32, 32),
            _convolution(128, 4, 32, 64),
            _dense(128, 64, CLASSES),
        )
    )
    assert by_hand <= count <= 1.1 * by_hand  # few channels, so batch normalisation weighs


def test_resnet18():
    _, count = _count("resnet18", (32, 32, 3), 8)
    by_hand = _convolution(8, 32, 3, 64, first=True) + 4 * _convolution(8, 32, 64, 64)
    for size, width in ((32, 128), (16, 256), (8, 512)):
        by_hand += _convolution(8, size, width // 2, width, stride=2)
        by_hand += _convolution(8, size, width // 2, width, stride=2, kernel=1)
        by_hand += 3 * _convolution(8, size // 2, width, width)
    by_hand += _dense(8, 512, CLASSES)
    assert by_hand <= count <= 1.02 * by_hand


def test_gpt():
    samples, context, width, depth = 4, 128, 256, 2
    model, count = _count(
        "gpt",
        (context,),
        samples,
        dtype=jnp.int32,
        labels=(context,),
        classes=512,
        depth=depth,
        width=width,
    )
    tokens = samples * context
    used = num_parameters(model.segment(0, len(model)).init()[0]) - context * width
    by_hand = (
        6 * used * tokens + 12 * depth * context * width * tokens
    )  # arXiv 2204.02311, appendix B
    assert 0.99 * by_hand <= count <= 1.03 * by_hand  # 6 N D has biases and scales as products too


def test_vit():
    samples, width, depth, patches = 8, 128, 2, 64
    _, count = _count("vit", (32, 32, 3), samples, patch=4, width=width, depth=depth, heads=4)
    tokens = samples * (patches + 1)
    by_hand = _dense(samples * patches, 48, width, first=True) + _dense(samples, width, CLASSES)
    by_hand += depth * (_dense(tokens, width, 12 * width) + 12 * (patches + 1) * width * tokens)
    assert by_hand <= count <= 1.06 * by_hand  # narrow, so GELU, softmax and normalisation weigh


def test_the_body_of_a_scan_counts_as_often_as_it_runs():
    def lstm(time):
        return _count("lstm", (time,), 16, dtype=jnp.int32, vocabulary=50, depth=1)[1]

    cells = 2 * 16 * 100  # in two directions
    by_hand = _dense(cells, 128, 256) + _dense(cells, 64, 256)
    short, long = lstm(100), lstm(200)
    assert by_hand <= short <= 1.04 * by_hand
    assert long == pytest.approx(2 * short, rel=1e-3)  # but for the classifier


def test_loops_in_loops():
    def repeated(inputs):
        def inner(values, _):
            return values @ jnp.ones((4, 4)), None

        def outer(values, _):
            return jax.lax.scan(inner, values, length=5)[0], None

        return jax.lax.scan(outer, inputs, length=7)[0]

    model = LayeredModel([nnx.Linear(4, 4, rngs=nnx.Rngs(0)), repeated])
    count = step_flops(model, tiny.loss, tiny.features())
    once = _dense(8, 4, 4, first=True)
    assert once + 35 * 2 * (2 * 8 * 4 * 4) <= count <= 1.4 * (once + 35 * 2 * (2 * 8 * 4 * 4))


def test_a_loop_whose_length_is_data_is_not_counted():
    def until_small(inputs):
        return jax.lax.stop_gradient(
            jax.lax.while_loop(lambda each: jnp.sum(each) > 1, lambda each: each / 2, inputs)
        )

    model = LayeredModel([nnx.Linear(4, 4, rngs=nnx.Rngs(0)), until_small])
    assert step_flops(model, tiny.loss, tiny.features()) is None


@pytest.mark.parametrize("name", tiny.MODELS)
def test_every_kind_of_model_can_be_counted(name):
    make, batch = tiny.MODELS[name]
    assert step_flops(make(), tiny.loss, batch()) > 0


def test_computing_again_is_no_work_of_the_model():
    def flops(remat):
        config = make_config("local", profile=True, remat=remat, stop={"steps": 1})
        run = run_local(make_task(), endless_batches, num_workers=1, config=config)
        return run.summary.step_flops

    assert flops("none") == flops("full") > 0
