"""The loader: shards, epochs, resumption and errors, from memory and from disk."""

import dataclasses
import json
from itertools import islice

import jax
import numpy as np
import pytest

from layup_jax.data import Batch, LoaderSpec, load_split, make_loader
from layup_jax.errors import ConfigError, DataError

NUMBERED = (np.arange(103, dtype=np.float64), np.arange(103) % 10)


@pytest.fixture(params=["memory", "disk"])
def spec(request, digits_dir):
    limit = {"memory": 2**28, "disk": 0}[request.param]
    return LoaderSpec("digits", data_dir=digits_dir, num_workers=2, memory_limit_bytes=limit)


def take(spec, count, *, state=None, arrays=None):
    with make_loader(spec, arrays=arrays) as loader:
        if state is not None:
            loader.set_state(state)
        return list(islice(loader, count))


def assert_same(left, right):
    assert len(left) == len(right)
    jax.tree.map(np.testing.assert_array_equal, left, right)


def numbered_epoch(epoch, **changes):
    spec = LoaderSpec("numbers", batch_size=8, num_workers=4, **changes)
    batches = take(spec, 3 * (epoch + 1), arrays=NUMBERED)[3 * epoch :]
    return np.concatenate([batch.inputs for batch in batches])


def test_batches_have_the_stated_types(spec):
    with make_loader(spec) as loader:
        assert (loader.num_samples, loader.batches_per_epoch) == (718, 22)
        batch = next(loader)
    assert isinstance(batch, Batch)
    assert (batch.inputs.shape, batch.inputs.dtype) == ((32, 8, 8, 1), np.float32)
    assert (batch.labels.shape, batch.labels.dtype) == ((32,), np.int32)
    assert batch.inputs.flags.owndata or batch.inputs.base is None


def test_equal_specs_give_equal_batches_and_seeds_differ(spec):
    first = take(spec, 25)
    assert_same(first, take(spec, 25))
    other = take(dataclasses.replace(spec, seed=1), 1)
    assert not np.array_equal(first[0].labels, other[0].labels)


def test_memory_and_disk_give_the_same_batches(spec):
    both = [take(dataclasses.replace(spec, memory_limit_bytes=n), 24) for n in (0, 2**28)]
    assert_same(*both)


@pytest.mark.parametrize("done", [0, 5, 22, 30])
def test_resumed_equals_uninterrupted(spec, done):
    whole = take(spec, 35)
    with make_loader(spec) as loader:
        for _ in range(done):
            next(loader)
        state = json.loads(json.dumps(loader.get_state()))
        next(loader)
        loader.set_state(state)  # back, in the same loader
        assert_same([next(loader)], whole[done : done + 1])
    assert_same(take(spec, 35 - done, state=state), whole[done:])


def test_shards_are_disjoint_and_each_epoch_visits_a_sample_once():
    for epoch in (0, 1):
        seen = [numbered_epoch(epoch, rank=rank) for rank in range(4)]
        for rank, samples in enumerate(seen):
            assert len(np.unique(samples)) == 24
            assert set(samples % 4) == {rank}
    assert not np.array_equal(numbered_epoch(0), numbered_epoch(1))


def test_an_epoch_covers_a_shard_that_batches_divide(digits_dir):
    spec = LoaderSpec("digits", "test", batch_size=30, data_dir=digits_dir, num_workers=2)
    everything = load_split("digits", "test", digits_dir).inputs.reshape(360, 64)
    batches = [batch for rank in (0, 1) for batch in take(dataclasses.replace(spec, rank=rank), 6)]
    seen = np.concatenate([batch.inputs.reshape(30, 64) for batch in batches])
    np.testing.assert_array_equal(seen[np.lexsort(seen.T)], everything[np.lexsort(everything.T)])


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (np.array([0, 51, 255], np.uint8), np.array([0, 0.2, 1], np.float32)),
        (np.array([0, 2.5, 9]), np.array([0, 2.5, 9], np.float32)),
        (np.array([7, 50_000, 3]), np.array([7, 50_000, 3], np.int32)),
    ],
)
def test_arrays_are_converted_and_copied(raw, expected):
    labels = np.arange(3)
    loader = make_loader(LoaderSpec(batch_size=3), arrays=(raw, labels))
    raw[:] = 1
    batch = next(loader)
    assert batch.inputs.dtype == expected.dtype
    np.testing.assert_allclose(batch.inputs, expected[batch.labels], rtol=1e-6)


def test_jax_arrays_are_accepted():
    arrays = (jax.numpy.ones((6, 2)), jax.numpy.zeros(6, int))
    assert take(LoaderSpec(batch_size=6), 1, arrays=arrays)[0].inputs.shape == (6, 2)


def test_close_is_idempotent_and_ends_the_stream(spec):
    loader = make_loader(spec)
    next(loader)
    loader.close()
    loader.close()
    with pytest.raises(DataError, match="got a closed one"):
        next(loader)


def test_too_many_workers_or_too_large_a_batch(spec):
    crowd = dataclasses.replace(spec, num_workers=1438)
    with pytest.raises(DataError, match="got 1437 samples for 1438 workers; use fewer"):
        make_loader(crowd)
    with pytest.raises(DataError, match=r"at most 718, .* got 719; lower batch_size"):
        make_loader(dataclasses.replace(spec, batch_size=719))


def test_labels_outside_the_stated_classes(spec):
    make_loader(dataclasses.replace(spec, num_classes=10)).close()
    with pytest.raises(DataError, match="got "):
        make_loader(dataclasses.replace(spec, num_classes=9))
    with pytest.raises(DataError, match=r"in \[0, 10\), got values from -1 to 1"):
        make_loader(
            LoaderSpec(batch_size=1, num_classes=10), arrays=(np.zeros(2), np.array([-1, 1]))
        )


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((np.zeros(4), np.zeros(3, int)), "one label for each input"),
        ((np.zeros(4), np.zeros(4)), "labels must be integers, got an array of float64"),
        ((np.array(["a", "b"]), np.zeros(2, int)), "inputs must be numbers"),
    ],
)
def test_unfit_arrays(arrays, message):
    with pytest.raises(DataError, match=message):
        make_loader(LoaderSpec(batch_size=1), arrays=arrays)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"num_workers": 0}, "num_workers must be at least 1"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"rank": 2, "num_workers": 2}, r"rank must lie in \[0, 2\), got 2"),
    ],
)
def test_spec_checks_its_numbers(changes, message):
    with pytest.raises(ConfigError, match=message):
        LoaderSpec(**changes)


@pytest.mark.parametrize("state", [{}, {"next_index": -1}, None])
def test_foreign_state_is_refused(spec, state):
    with make_loader(spec) as loader, pytest.raises(DataError, match="must come from get_state"):
        loader.set_state(state)
