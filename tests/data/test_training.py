"""Data sets of text and pictures as a configured run uses them."""

import itertools

import numpy as np
import pytest
from flax import nnx

from layup_jax import LayeredModel
from layup_jax.config import validated
from layup_jax.data import make_loader
from layup_jax.errors import DataError
from layup_jax.models import MODELS
from layup_jax.training import build_task, check, loader_spec


def tiny_lm(input_shape, num_classes, *, vocabulary=0, seed=0):
    """Predicts each token from the one before it."""
    assert input_shape == (6,)
    assert vocabulary == num_classes
    rngs = nnx.Rngs(seed)
    return LayeredModel(
        [nnx.Embed(vocabulary, 4, rngs=rngs), nnx.Linear(4, num_classes, rngs=rngs)]
    )


@pytest.fixture
def text_config(text_dir, monkeypatch):
    monkeypatch.setitem(MODELS, "tiny_lm", tiny_lm)
    data = {"name": "tiny_documents", "data_dir": str(text_dir), "context": 6, "test_samples": 11}
    return validated({"model": {"name": "tiny_lm"}, "data": data, "batch_size": 4})


def test_a_run_on_text_has_windows_to_train_and_to_test(text_config):
    check(text_config, workers=2)
    task = build_task(text_config)
    assert task.test.inputs.shape == task.test.labels.shape == (11, 6)
    with make_loader(loader_spec(text_config, 1, 2)) as loader:
        batch = next(loader)
    assert batch.inputs.shape == (4, 6)
    segment = task.model.segment(0, 2)
    params, state = segment.init()
    outputs, _ = segment.apply(params, state, batch.inputs, training=False)
    assert outputs.shape == (4, 6, 257)
    assert np.isfinite(task.loss(outputs, batch))


def test_too_many_workers_for_the_documents_are_found_before_the_start(text_config):
    with pytest.raises(DataError, match="got 31 samples for 32 workers"):
        check(text_config, workers=32)


def test_a_run_on_pictures_is_augmented_as_configured(image_dir):
    data = {
        "name": "tiny_pictures",
        "data_dir": str(image_dir),
        "augment": "resized_crop",
        "image_size": 8,
        "normalize": "cifar10",
        "mixup": 0.2,
        "memory_limit_mb": 0,
    }
    config = validated({"model": {"name": "mlp"}, "data": data, "batch_size": 5})
    check(config, workers=2)
    task = build_task(config)
    assert task.test.inputs.shape == (6, 8, 8, 3)
    assert task.test.inputs.min() < -0.5
    spec = loader_spec(config, 1, 2)
    assert spec.memory_limit_bytes == 0
    with make_loader(spec) as loader:
        batches = list(itertools.islice(loader, 2))
    assert batches[0].inputs.shape == (5, 8, 8, 3)
    assert not np.array_equal(batches[0].inputs, batches[1].inputs)
    assert batches[0].labels.shape == (5, 3)
    assert np.isfinite(task.loss(np.zeros((5, 3), np.float32), batches[0]))
