"""Images: random crops and flips, sizes, normalisation, and batches that do not depend on threads."""

import dataclasses
import json
from itertools import islice

import numpy as np
import pytest

from layup_jax.data import (
    LoaderSpec,
    SampleForm,
    load_split,
    make_loader,
    open_data_set,
    open_source,
    stream,
)
from layup_jax.data.augment import crops
from layup_jax.data.normalization import PUBLISHED
from layup_jax.data.resize import centre_crops, random_box, resized_crops
from layup_jax.data.view import View
from layup_jax.errors import DataError

CROP_FLIP = SampleForm(augment="crop_flip")
RESIZED = SampleForm(augment="resized_crop", image_size=16)


@pytest.fixture(params=["memory", "disk"])
def spec(request, image_dir):
    limit = {"memory": 2**28, "disk": 0}[request.param]
    return LoaderSpec(
        "tiny_pictures",
        batch_size=4,
        data_dir=image_dir,
        num_workers=2,
        memory_limit_bytes=limit,
        form=CROP_FLIP,
    )


@pytest.fixture(scope="session")
def pictures(image_dir):
    """All training pictures, uint8, with their labels."""
    return open_source("tiny_pictures", "train", image_dir).read(range(40))


def take(spec, count, state=None):
    with make_loader(spec) as loader:
        if state is not None:
            loader.set_state(state)
        return list(islice(loader, count))


def placed(crop, original, padding=4):
    """Whether a picture is a crop of the padded original, or the mirror image of one."""
    padded = np.pad(original, ((padding, padding), (padding, padding), (0, 0)))
    height, width = original.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(padded, original.shape).reshape(
        -1, height, width, original.shape[2]
    )
    return [
        int(np.flatnonzero((windows == each).all((1, 2, 3))).size) for each in (crop, crop[:, ::-1])
    ]


@pytest.mark.parametrize(
    ("form", "padding", "fewest", "most"),
    [(CROP_FLIP, 4, 10, 30), (SampleForm(augment="crop", crop_padding=1), 1, 0, 0)],
)
def test_every_picture_is_a_crop_of_the_padded_original(pictures, form, padding, fewest, most):
    images = pictures[0]
    seen = np.rint(View(form).to_train(images, 3) * 255).astype(np.uint8)
    assert seen.shape == images.shape
    found = [placed(crop, original, padding) for crop, original in zip(seen, images, strict=True)]
    assert all(sum(each) == 1 for each in found)
    assert fewest <= sum(mirrored for _, mirrored in found) <= most


def test_all_shifts_are_drawn_alike():
    images = np.zeros((8100, 9, 9, 1), np.uint8)
    images[:, 4, 4] = 1
    moved = crops(images, np.random.default_rng(0), padding=4, flips=True)
    rows, columns = np.nonzero(moved[..., 0])[1:]
    assert moved.dtype == np.uint8
    counts = np.bincount(9 * rows + columns, minlength=81)
    assert counts.size == 81
    assert counts.min() > 50
    assert counts.max() < 160


def test_batches_from_the_loader_are_crops_of_the_samples_with_their_labels(spec, pictures):
    images, labels = pictures
    for batch in take(spec, 5):
        raw = np.rint(batch.inputs * 255).astype(np.uint8)
        for crop, label in zip(raw, batch.labels, strict=True):
            found = [index for index in range(40) if sum(placed(crop, images[index]))]
            assert len(found) == 1
            assert labels[found[0]] == label


def test_augmentation_repeats_and_differs_by_seed_rank_and_epoch(spec):
    first = take(spec, 12)
    np.testing.assert_equal(first, take(spec, 12))
    for changes in ({"seed": 1}, {"rank": 1}):
        other = take(dataclasses.replace(spec, **changes), 1)
        assert not np.array_equal(first[0].inputs, other[0].inputs)
    whole = dataclasses.replace(spec, batch_size=20)
    totals = [batch.inputs.sum(axis=(1, 2, 3)) for batch in take(whole, 2)]
    same = set(totals[0].tolist()) & set(totals[1].tolist())
    assert len(same) < 5  # by chance one of 81 crops is drawn again


def test_memory_disk_and_any_number_of_threads_give_the_same_batches(spec, monkeypatch):
    expected = take(dataclasses.replace(spec, memory_limit_bytes=0), 12)
    np.testing.assert_equal(take(spec, 12), expected)
    for cores in (1, 7):
        monkeypatch.setattr(stream, "allowed_cores", lambda cores=cores: range(cores))
        np.testing.assert_equal(take(spec, 12), expected)


@pytest.mark.parametrize("form", [CROP_FLIP, RESIZED])
def test_what_is_drawn_depends_on_seed_rank_and_number_of_the_batch(pictures, form):
    images = pictures[0]
    places = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    seen = [View(form, seed, rank).to_train(images, number) for seed, rank, number in places]
    assert len({each.tobytes() for each in seen}) == 4
    np.testing.assert_array_equal(View(form, 0, 0).to_train(images, 0), seen[0])


@pytest.mark.parametrize("done", [0, 3, 7])
def test_augmented_batches_resume(spec, done):
    whole = take(spec, 12)
    with make_loader(spec) as loader:
        for _ in range(done):
            next(loader)
        state = json.loads(json.dumps(loader.get_state()))
    np.testing.assert_equal(take(spec, 12 - done, state), whole[done:])


def test_arrays_are_augmented_too(pictures):
    spec = LoaderSpec(batch_size=40, form=CROP_FLIP)
    with make_loader(spec, arrays=pictures) as loader:
        batch = next(loader)
    assert batch.inputs.shape == (40, 32, 32, 3)
    assert not np.array_equal(np.sort(batch.inputs.ravel()), np.sort(pictures[0].ravel() / 255))


def test_no_augmentation_without_asking_and_none_to_test(spec, pictures, image_dir):
    plain = dataclasses.replace(spec, form=SampleForm(), batch_size=20)
    known = {image.tobytes() for image in pictures[0]}
    seen = np.rint(take(plain, 1)[0].inputs * 255).astype(np.uint8)
    assert {image.tobytes() for image in seen} < known
    test = load_split("tiny_pictures", "test", image_dir, form=CROP_FLIP)
    np.testing.assert_array_equal(
        test.inputs, load_split("tiny_pictures", "test", image_dir).inputs
    )
    some = load_split("tiny_pictures", "test", image_dir, num_samples=3)
    np.testing.assert_array_equal(some.inputs, test.inputs[::2])


@pytest.mark.parametrize("name", PUBLISHED)
def test_normalisation_is_by_channel(name, image_dir, pictures):
    form = SampleForm(normalize=name)
    seen = load_split("tiny_pictures", "train", image_dir, form=form).inputs
    mean, deviation = PUBLISHED[name]
    expected = (pictures[0] / 255 - np.array(mean)) / np.array(deviation)
    assert seen.dtype == np.float32
    np.testing.assert_allclose(seen, expected, atol=1e-6)
    np.testing.assert_allclose(PUBLISHED[name](pictures[0] / 255), expected, atol=1e-6)


@pytest.mark.parametrize("limit", [0, 2**28])
def test_pictures_of_several_sizes_become_one_size(image_dir, limit):
    spec = LoaderSpec(
        "tiny_sizes", batch_size=6, data_dir=image_dir, memory_limit_bytes=limit, form=RESIZED
    )
    batches = take(spec, 4)
    assert batches[0].inputs.shape == (6, 16, 16, 3)
    np.testing.assert_equal(take(spec, 4), batches)
    assert open_data_set("tiny_sizes", "train", image_dir, RESIZED).signature[1] == (16, 16, 3)
    test = load_split("tiny_sizes", "test", image_dir, form=RESIZED, num_samples=4)
    assert test.inputs.shape == (4, 16, 16, 3)
    with pytest.raises(DataError, match=r"of one shape, got .*augment=resized_crop"):
        load_split("tiny_sizes", "test", image_dir)
    with pytest.raises(DataError, match="records of one shape, got"):
        take(dataclasses.replace(spec, form=SampleForm()), 1)


def test_pictures_of_one_size_are_resized_from_memory_as_from_disk(image_dir):
    spec = LoaderSpec("tiny_pictures", batch_size=8, data_dir=image_dir, form=RESIZED)
    np.testing.assert_equal(take(spec, 3), take(dataclasses.replace(spec, memory_limit_bytes=0), 3))


@pytest.mark.parametrize("shape", [(100, 100), (40, 90), (2, 500), (500, 2), (1, 1)])
def test_random_parts_lie_inside_and_have_the_published_areas_and_ratios(shape):
    rng = np.random.default_rng(0)
    for _ in range(200):
        left, top, right, bottom = random_box((*shape, 3), rng)
        assert 0 <= left < right <= shape[1]
        assert 0 <= top < bottom <= shape[0]
        if min(shape) >= 40:
            wide, high = right - left, bottom - top
            assert 0.07 < wide * high / (shape[0] * shape[1]) <= 1
            assert 0.7 < wide / high < 1.4


def test_resizing_keeps_what_should_be_kept():
    flat = [np.full((30, 50, 3), 7, np.uint8), np.full((5, 4, 3), 9, np.uint8)]
    for resized in (resized_crops(flat, 8, np.random.default_rng(0)), centre_crops(flat, 8)):
        np.testing.assert_array_equal(resized[0], np.full((8, 8, 3), 7))
        np.testing.assert_array_equal(resized[1], np.full((8, 8, 3), 9))
    ramp = np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (256, 1, 1))
    centre = centre_crops([ramp], 224)
    np.testing.assert_array_equal(centre[0, :, :, 0], ramp[16:240, 16:240, 0])
    crops = resized_crops([ramp] * 50, 32, np.random.default_rng(1))[..., 0].astype(int)
    slopes = np.diff(crops, axis=2).mean(axis=(1, 2))
    assert 10 < (slopes < 0).sum() < 40


@pytest.mark.parametrize(
    ("form", "inputs", "message"),
    [
        (CROP_FLIP, np.zeros((2, 9)), r"'crop_flip' needs images .* got float64 \(9,\)"),
        (RESIZED, np.zeros((2, 9, 9, 3)), "needs uint8 images of 1 or 3 channels, got float64"),
        (RESIZED, np.zeros((2, 9, 9, 2), np.uint8), r"got uint8 \(9, 9, 2\) in the arrays"),
        (SampleForm(normalize="cifar10"), np.zeros((2, 9, 9, 1)), "needs images of 3 channels"),
    ],
)
def test_inputs_that_cannot_be_seen_so(form, inputs, message):
    with pytest.raises(DataError, match=message):
        make_loader(LoaderSpec(batch_size=1, form=form), arrays=(inputs, np.zeros(2, int)))


def test_grey_pictures_are_resized():
    images = np.random.default_rng(0).integers(0, 255, (2, 9, 12, 1), np.uint8)
    assert centre_crops(images, 6).shape == (2, 6, 6, 1)
