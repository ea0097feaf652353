"""The digits data set: content, and preparation by several processes."""

import numpy as np
from sklearn.datasets import load_digits

from layup_jax.data import load_split


def test_two_processes_prepare_at_once(raced_preparation):
    folder, exit_codes, last_lines = raced_preparation
    assert exit_codes == [0, 0]
    assert last_lines == ["{'train': 1437, 'test': 360}"] * 2
    assert [path.name for path in (folder / "layup_digits").iterdir()] == ["1.0.0"]


def test_splits_are_sklearns_images_and_stratified(digits_dir):
    train, test = (load_split("digits", split, digits_dir) for split in ("train", "test"))
    assert train.inputs.shape == (1437, 8, 8, 1)
    assert test.inputs.shape == (360, 8, 8, 1)
    assert train.inputs.dtype == np.float32
    assert train.labels.dtype == np.int32
    assert np.bincount(test.labels, minlength=10).min() >= 25

    images = np.concatenate([train.inputs, test.inputs]).reshape(1797, 64) * 16
    stored = np.column_stack([images, np.concatenate([train.labels, test.labels])])
    digits = load_digits()
    original = np.column_stack([digits.images.reshape(1797, 64), digits.target])
    np.testing.assert_array_equal(stored[np.lexsort(stored.T)], original[np.lexsort(original.T)])


def test_test_split_is_every_fifth_image(digits_dir):
    digits = load_digits()
    test = load_split("digits", "test", digits_dir)
    np.testing.assert_array_equal(np.bincount(test.labels), np.bincount(digits.target[::5]))
