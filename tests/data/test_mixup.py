"""Mixup: the formula, the distribution of lambda, what loaders give, and what is refused."""

import itertools

import numpy as np
import pytest

from layup_jax.data import Batch, LoaderSpec, SampleForm, load_split, make_loader, open_data_set
from layup_jax.data.mixup import mixed
from layup_jax.errors import ConfigError, DataError
from layup_jax.losses import accuracy, cross_entropy

FORM = SampleForm(mixup=0.4)


def _batch(size=6):
    """Each image holds the number of its sample everywhere."""
    images = np.broadcast_to(np.arange(size, dtype=np.float32), (2, 2, 1, size)).T
    return Batch(images.reshape(size, 2, 2, 1).copy(), np.arange(size, dtype=np.int32))


def _mixed(seed, alpha=0.4, size=6):
    return mixed(_batch(size), alpha, num_classes=size, rng=np.random.default_rng(seed))


def _lambda(batch):
    """Of a batch whose samples have a class each, and the second sample of each."""
    labels = batch.labels
    others = [int(np.argmax(np.delete(row, i))) for i, row in enumerate(labels)]
    others = [other + (other >= i) for i, other in enumerate(others)]
    moved = [i for i, row in enumerate(labels) if row[i] < 1]
    return labels[moved[0], moved[0]], moved, others


def test_images_and_labels_are_mixed_alike():
    for seed in range(20):
        batch = _mixed(seed)
        share, moved, others = _lambda(batch)
        for i, row in enumerate(batch.labels):
            expected = np.zeros(6)
            expected[i] = share if i in moved else 1
            if i in moved:
                expected[others[i]] = 1 - share
            np.testing.assert_allclose(row, expected, atol=1e-6)
            np.testing.assert_allclose(batch.inputs[i], row @ np.arange(6.0), atol=1e-5)  # of 5
        assert sorted(others[i] for i in moved) == moved
        assert batch.inputs.dtype == batch.labels.dtype == np.float32


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_lambda_is_beta_distributed(alpha):
    """Mean 1/2 and variance 1 / (4 (2 alpha + 1)): within 5 standard errors of 2,000 draws."""
    draws = np.array([_mixed(seed, alpha, size=2).labels for seed in range(2000)])
    own = draws[:, 0, 0]
    own = own[own < 1]  # else the permutation of two was the identity, or lambda rounds to 1
    assert abs(np.mean(own) - 0.5) < 0.06
    if alpha == 1.0:  # for 0.2 some of the draws at the edge are left out above
        assert abs(np.var(own) - 1 / 12) < 0.012


def test_loss_of_mixed_labels_is_the_mixture_of_losses():
    random = np.random.default_rng(0)
    logits = random.normal(size=(6, 6)).astype(np.float32)
    batch = _mixed(3)
    share, moved, others = _lambda(batch)
    first = cross_entropy(logits[moved], Batch(logits, np.array(moved)))
    second = cross_entropy(logits[moved], Batch(logits, np.array(others)[moved]))
    soft = cross_entropy(logits[moved], Batch(logits, batch.labels[moved]))
    np.testing.assert_allclose(soft, share * first + (1 - share) * second, rtol=1e-5)


def test_accuracy_of_mixed_labels_counts_the_likelier():
    labels = np.array([[0.7, 0.3], [0.4, 0.6]], np.float32)
    assert accuracy(np.array([[2.0, 1.0], [3.0, 0.0]]), Batch(labels, labels)) == 0.5


def _take(spec, count, **options):
    with make_loader(spec, **options) as loader:
        return list(itertools.islice(loader, count))


@pytest.mark.parametrize("limit", [0, 2**28])
def test_loaders_mix_from_seed_rank_and_number(image_dir, limit):
    def spec(**changes):
        options = {"batch_size": 5, "data_dir": image_dir, "memory_limit_bytes": limit}
        return LoaderSpec("tiny_pictures", **options, **changes)

    first, again = (_take(spec(form=FORM), 4) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.inputs, other.inputs)
        np.testing.assert_array_equal(one.labels, other.labels)
        assert one.labels.shape == (5, 3)
        np.testing.assert_allclose(one.labels.sum(axis=1), 1, atol=1e-6)
    plain = _take(spec(), 4)
    assert {each.labels.dtype for each in plain} == {np.dtype(np.int32)}
    changed = [not np.array_equal(a.inputs, b.inputs) for a, b in zip(first, plain, strict=True)]
    assert any(changed)
    shares = [np.round(each.labels[each.labels > 0], 4) for each in first]
    assert len({float(each.min()) for each in shares}) > 1
    other_seed = _take(spec(form=FORM, seed=1), 4)
    assert not np.array_equal(first[0].labels, other_seed[0].labels)


def test_memory_and_disk_mix_alike(image_dir):
    both = [
        _take(
            LoaderSpec(
                "tiny_pictures",
                batch_size=5,
                data_dir=image_dir,
                memory_limit_bytes=limit,
                form=SampleForm(mixup=0.4, augment="crop_flip", normalize="cifar10"),
            ),
            3,
        )
        for limit in (0, 2**28)
    ]
    for one, other in zip(*both, strict=True):
        np.testing.assert_array_equal(one.inputs, other.inputs)
        np.testing.assert_array_equal(one.labels, other.labels)


def test_arrays_are_mixed_and_tests_are_not(image_dir):
    arrays = (np.zeros((8, 2, 2, 1), np.uint8), np.arange(8) % 5)
    (batch,) = _take(LoaderSpec(batch_size=4, form=FORM), 1, arrays=arrays)
    assert batch.labels.shape == (4, 5)
    test = load_split("tiny_pictures", "test", image_dir, form=FORM)
    assert (test.labels.shape, test.labels.dtype) == ((6,), np.int32)


def test_a_negative_alpha_is_refused():
    with pytest.raises(ConfigError, match=r"^mixup must be at least 0, got -1.0; use 0 for none"):
        SampleForm(mixup=-1.0)


@pytest.mark.parametrize(
    ("name", "kind"), [("tiny_documents", "documents"), ("tiny_reviews", "texts with labels")]
)
def test_text_is_not_mixed(text_dir, name, kind):
    with pytest.raises(DataError, match=f"mixup needs images with labels, got {kind} in data set"):
        open_data_set(name, "train", text_dir, FORM)


@pytest.mark.parametrize(
    ("inputs", "labels"),
    [
        (np.zeros((4, 3), np.float32), np.zeros(4, int)),
        (np.zeros((4, 2, 2, 1), np.int32), np.zeros(4, int)),
        (np.zeros((4, 2, 2, 1), np.float32), np.zeros((4, 2), int)),
    ],
)
def test_what_is_no_image_with_a_label_is_not_mixed(inputs, labels):
    with pytest.raises(DataError, match=r"^mixup needs images .* in the arrays; use mixup=0$"):
        make_loader(LoaderSpec(batch_size=2, form=FORM), arrays=(inputs, labels))


def test_a_data_set_of_vectors_is_not_mixed(foreign_dir):
    with pytest.raises(DataError, match=r"^mixup needs images .* \(4,\) and labels \(\) in data"):
        open_data_set("tiny_letters", "train", foreign_dir, FORM)
