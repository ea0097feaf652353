"""Losses against their definitions."""

import numpy as np
import pytest

from layup_jax.data import Batch
from layup_jax.errors import DataError
from layup_jax.losses import accuracy, cross_entropy


def _case(shape):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(*shape, 5)).astype(np.float32)
    return logits, Batch(np.zeros(shape[0]), rng.integers(0, 5, size=shape).astype(np.int32))


def test_cross_entropy_is_the_mean_negative_log_probability():
    for shape in [(6,), (3, 4)]:
        logits, batch = _case(shape)
        exponents = np.exp(logits)
        probabilities = exponents / exponents.sum(axis=-1, keepdims=True)
        chosen = np.take_along_axis(probabilities, batch.labels[..., None], axis=-1)
        np.testing.assert_allclose(
            cross_entropy(logits, batch), -np.mean(np.log(chosen)), rtol=1e-6
        )


@pytest.mark.parametrize("label", [-1, -5, 5, 7])
def test_a_label_that_is_no_class_has_no_loss(label):
    logits, batch = _case((6,))
    batch.labels[2] = label
    assert np.isnan(cross_entropy(logits, batch))
    batch.labels[:] = label
    assert accuracy(logits, batch) == 0


@pytest.mark.parametrize("measure", [cross_entropy, accuracy])
@pytest.mark.parametrize("shape", [(6, 1), (3,), (6, 4), ()])
def test_labels_of_another_shape_are_refused(measure, shape):
    logits, _ = _case((6,))
    sentence = r"labels must have shape \(6,\), or \(6, 5\) as probabilities, got \("
    with pytest.raises(DataError, match=sentence):
        measure(logits, Batch(np.zeros(6), np.zeros(shape, np.int32)))


def test_accuracy_is_the_fraction_of_largest_logits():
    for shape in [(6,), (3, 4)]:
        logits, batch = _case(shape)
        expected = np.mean(np.argmax(logits, axis=-1) == batch.labels)
        np.testing.assert_allclose(accuracy(logits, batch), expected, rtol=1e-6)
