"""ResNets: their published sizes, their shapes, their blocks, and that equal blocks compile once."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from layup_jax.data import Batch
from layup_jax.errors import ConfigError
from layup_jax.losses import cross_entropy
from layup_jax.models import MODELS, LayeredModel, resnet18, resnet34, resnet50
from layup_jax.models.check import check_model
from layup_jax.models.resnet import BasicBlock, Bottleneck, Stem
from layup_jax.tree import num_parameters


def batch_norm(num_features, rngs):
    return nnx.BatchNorm(num_features, rngs=rngs)


def run(layer, inputs):
    segment = LayeredModel([layer]).segment(0, 1)
    return jax.jit(lambda inputs: segment.apply(*segment.init(), inputs, training=True)[0])(inputs)


@pytest.fixture(scope="module")
def small():
    return resnet18((8, 8, 1), 10, width=2)


@pytest.fixture(scope="module")
def deep():
    return resnet50((64, 64, 3), 5, stem="imagenet", norm="group", width=2)


def _segments(model):
    return [model.segment(index, index + 1) for index in range(len(model))]


def _params(model):
    return [segment.init()[0] for segment in _segments(model)]


def _shapes(model, shape):
    def run(outputs):
        passed = []
        for segment in _segments(model):
            outputs, _ = segment.apply(*segment.init(), outputs, training=True)
            passed.append(outputs)
        return passed

    return [each.shape for each in jax.eval_shape(run, jax.ShapeDtypeStruct(shape, jnp.float32))]


# Of ImageNet: torchvision's tables. Of CIFAR: these, without what stem and classifier have less.
@pytest.mark.parametrize(
    ("make", "layers", "at_cifar", "at_imagenet"),
    [
        (resnet18, 10, 11_173_962, 11_689_512),
        (resnet34, 18, 21_282_122, 21_797_672),
        (resnet50, 18, 23_520_842, 25_557_032),
    ],
)
def test_has_the_published_number_of_parameters(make, layers, at_cifar, at_imagenet):
    small = jax.eval_shape(lambda: _params(make((32, 32, 3), 10)))
    large = jax.eval_shape(lambda: _params(make((224, 224, 3), 1000, stem="imagenet")))
    assert [len(small), num_parameters(small)] == [layers, at_cifar]
    assert [len(large), num_parameters(large)] == [layers, at_imagenet]


def test_group_normalisation_has_as_many_parameters():
    params = jax.eval_shape(lambda: _params(resnet18((32, 32, 3), 10, norm="group")))
    assert num_parameters(params) == 11_173_962


def test_are_registered():
    assert [MODELS[f"resnet{depth}"] for depth in (18, 34, 50)] == [resnet18, resnet34, resnet50]


def test_halves_the_image_three_times_and_doubles_the_channels(small):
    blocks = [(3, 8, 8, 2)] * 2 + [(3, 4, 4, 4)] * 2 + [(3, 2, 2, 8)] * 2 + [(3, 1, 1, 16)] * 2
    assert _shapes(small, (3, 8, 8, 1)) == [(3, 8, 8, 2), *blocks, (3, 10)]


def test_the_stem_of_imagenet_halves_twice_more_and_bottlenecks_have_four_times_the_channels(deep):
    blocks = [(3, 16, 16, 8)] * 3 + [(3, 8, 8, 16)] * 4 + [(3, 4, 4, 32)] * 6 + [(3, 2, 2, 64)] * 3
    assert _shapes(deep, (3, 64, 64, 3)) == [(3, 16, 16, 2), *blocks, (3, 5)]


def test_the_stem_of_imagenet_takes_the_maximum_over_overlapping_windows():
    stem = Stem(1, 2, kind="imagenet", norm=batch_norm, rngs=nnx.Rngs(0))
    images = jax.random.normal(jax.random.key(0), (2, 16, 16, 1))
    values = np.asarray(nnx.relu(stem.first(images)))
    assert values.shape == (2, 8, 8, 2)
    padded = np.pad(values, [(0, 0), (1, 1), (1, 1), (0, 0)])
    rows = [padded[:, row : row + 3] for row in range(0, 8, 2)]
    expected = [[row[:, :, at : at + 3].max((1, 2)) for at in range(0, 8, 2)] for row in rows]
    expected = np.transpose(expected, (2, 0, 1, 3))
    np.testing.assert_allclose(run(stem, images), expected, rtol=1e-6)


def test_equal_blocks_are_equal_segments(small):
    segments = _segments(small)
    assert segments[1] == segments[2]
    assert len(set(segments)) == 9  # all others differ in stride or width
    again = resnet18((8, 8, 1), 10, width=2, seed=1)
    assert _segments(again) == segments


def test_the_blocks_of_a_stage_are_equal_after_its_first(deep):
    segments = _segments(deep)
    ends = np.cumsum([1, 3, 4, 6, 3])
    for start, stop in itertools.pairwise(ends):
        assert len(set(segments[start + 1 : stop])) == 1
    assert len(set(segments)) == 10  # two for each stage, stem and classifier


@pytest.mark.parametrize(("block", "last"), [(BasicBlock, "second"), (Bottleneck, "third")])
def test_a_block_whose_residual_branch_gives_nothing_is_its_shortcut(block, last):
    layer = block(8, 8 // block.expansion, stride=1, norm=batch_norm, rngs=nnx.Rngs(0))
    inputs = jax.random.normal(jax.random.key(0), (2, 4, 4, 8))
    assert not np.array_equal(run(layer, inputs), jax.nn.relu(inputs))
    getattr(layer, last).norm.scale.set_value(jnp.zeros(8))
    np.testing.assert_allclose(run(layer, inputs), jax.nn.relu(inputs), rtol=1e-6)


def test_the_stride_of_a_bottleneck_is_on_its_3x3_convolution():
    block = Bottleneck(4, 2, stride=2, norm=batch_norm, rngs=nnx.Rngs(0))
    inputs = jax.random.normal(jax.random.key(0), (1, 4, 4, 4))
    changed = inputs.at[:, 1::2, 1::2].add(1.0)  # which a 1x1 at stride 2 does not see
    assert not np.allclose(run(block, inputs), run(block, changed))
    shortcut = block.shortcut
    np.testing.assert_array_equal(run(shortcut, inputs), run(shortcut, changed))


@pytest.mark.parametrize(("width", "groups"), [(64, 32), (12, 2), (5, 1)])
def test_all_layers_have_equally_many_groups(width, groups):
    model = resnet18((8, 8, 1), 10, norm="group", width=width)
    norms = [part for layer in model.layers for _, part in nnx.iter_graph(layer)]
    norms = [part for part in norms if isinstance(part, nnx.GroupNorm)]
    assert [norm.num_groups for norm in norms] == [groups] * 20


def test_group_normalisation_keeps_no_statistics_and_no_sample_depends_on_others(deep):
    block = deep.layers[1]
    assert jax.tree.leaves(deep.segment(0, len(deep)).init()[1]) == []
    images = jax.random.normal(jax.random.key(0), (3, 4, 4, 2))
    together, alone = run(block, images), run(block, images[:1])
    np.testing.assert_allclose(together[:1], alone, rtol=1e-5, atol=1e-6)  # sums of other lengths


def test_group_normalisation_of_single_pixels_lets_all_parameters_learn():
    model = resnet18((8, 8, 1), 10, norm="group", width=4)
    segment = model.segment(7, 8)
    params, model_state = segment.init()
    inputs, weights = jax.random.normal(jax.random.key(0), (2, 8, 2, 2, 16))

    @jax.jit
    @jax.grad
    def gradient(params):
        outputs, _ = segment.apply(params, model_state, inputs, training=True)
        assert outputs.shape == (8, 1, 1, 32)
        return jnp.sum(outputs[:, 0, 0, :16] * weights[:, 0, 0])

    assert all(np.max(np.abs(leaf)) > 1e-2 for leaf in jax.tree.leaves(gradient(params)))


def test_kernels_start_with_the_variance_of_he():
    block = BasicBlock(32, 64, stride=2, norm=batch_norm, rngs=nnx.Rngs(0))
    kernel = block.first.conv.kernel.get_value()
    assert kernel.shape == (3, 3, 32, 64)
    np.testing.assert_allclose(np.var(kernel), 2 / (9 * 64), rtol=0.05)  # 18,432 samples


def test_fits_its_data_and_loss(small):
    batch = Batch(np.zeros((2, 8, 8, 1), np.float32), np.zeros(2, np.int32))
    check_model(small, cross_entropy, batch)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"stem": "imagnet"}, "unknown stem 'imagnet'; did you mean 'imagenet'?"),
        ({"norm": "none"}, "unknown norm 'none'; use one of: batch, group"),
        ({"width": 0}, "the width of a ResNet must be at least 1, got 0; raise it"),
    ],
)
def test_refuses_options_out_of_range(options, sentence):
    with pytest.raises(ConfigError) as caught:
        resnet34((8, 8, 1), 10, **options)
    assert str(caught.value) == sentence
