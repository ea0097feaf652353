"""ResNet-18: its published size, its shapes, and that equal blocks compile once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from layup_jax.data import Batch
from layup_jax.losses import cross_entropy
from layup_jax.models import MODELS, resnet18
from layup_jax.models.check import check_model
from layup_jax.models.resnet import BasicBlock
from layup_jax.tree import num_parameters


@pytest.fixture(scope="module")
def small():
    return resnet18((8, 8, 1), 10, width=2)


def _params(model):
    return [model.segment(index, index + 1).init()[0] for index in range(len(model))]


def test_has_the_published_number_of_parameters():
    params = jax.eval_shape(lambda: _params(resnet18((32, 32, 3), 10)))
    assert num_parameters(params) == 11_173_962
    assert len(params) == 10


def test_is_registered():
    assert MODELS["resnet18"] is resnet18


def test_halves_the_image_three_times_and_doubles_the_channels(small):
    inputs, shapes = jnp.ones((3, 8, 8, 1)), []
    for index in range(len(small)):
        segment = small.segment(index, index + 1)
        inputs, _ = segment.apply(*segment.init(), inputs, training=True)
        shapes.append(inputs.shape)
    blocks = [(3, 8, 8, 2)] * 2 + [(3, 4, 4, 4)] * 2 + [(3, 2, 2, 8)] * 2 + [(3, 1, 1, 16)] * 2
    assert shapes == [(3, 8, 8, 2), *blocks, (3, 10)]


def test_equal_blocks_are_equal_segments(small):
    segments = [small.segment(index, index + 1) for index in range(len(small))]
    assert segments[1] == segments[2]
    assert len(set(segments)) == 9  # all others differ in stride or width
    again = resnet18((8, 8, 1), 10, width=2, seed=1)
    assert all(again.segment(index, index + 1) == each for index, each in enumerate(segments))


def test_a_block_whose_residual_branch_gives_nothing_is_its_shortcut(small):
    segment = small.segment(1, 2)
    params, model_state = segment.init()
    params[0]["norm2"]["scale"] = jnp.zeros(2)
    inputs = jax.random.normal(jax.random.key(0), (2, 8, 8, 2))
    outputs, _ = segment.apply(params, model_state, inputs, training=True)
    np.testing.assert_allclose(outputs, jax.nn.relu(inputs), rtol=1e-6)


def test_kernels_start_with_the_variance_of_he():
    block = BasicBlock(32, 64, stride=2, rngs=nnx.Rngs(0))
    kernel = block.conv1.kernel.get_value()
    assert kernel.shape == (3, 3, 32, 64)
    np.testing.assert_allclose(np.var(kernel), 2 / (9 * 64), rtol=0.05)  # 18,432 samples


def test_fits_its_data_and_loss(small):
    batch = Batch(np.zeros((2, 8, 8, 1), np.float32), np.zeros(2, np.int32))
    check_model(small, cross_entropy, batch)
