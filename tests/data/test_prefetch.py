"""Batches placed ahead: the same ones in the same order, errors when their batch is due, no thread."""

import itertools
import threading

import jax
import numpy as np
import pytest

from layup_jax.data import Batch, LoaderSpec, make_loader
from layup_jax.data.prefetch import Prefetch, prefetched
from layup_jax.errors import DataError

ARRAYS = (np.arange(40, dtype=np.float32).reshape(20, 2), np.arange(20) % 3)


def _loader():
    return make_loader(LoaderSpec("numbers", batch_size=4), arrays=ARRAYS)


def _counted(number, taken):
    for index in range(number):
        taken.append(index)
        yield Batch(np.full(2, index, np.float32), np.zeros(2, np.int32))


@pytest.mark.parametrize("ahead", [1, 3])
def test_batches_are_the_same_and_on_the_device(ahead):
    before = threading.active_count()
    placed = list(itertools.islice(Prefetch(_loader(), ahead), 12))
    for mine, plain in zip(placed, _loader(), strict=False):
        assert isinstance(mine, Batch)
        assert isinstance(mine.inputs, jax.Array)
        assert (mine.inputs.dtype, mine.labels.dtype) == (np.float32, np.int32)
        jax.tree.map(np.testing.assert_array_equal, mine, plain)
    assert len(placed) == 12
    assert threading.active_count() == before


def test_so_many_are_placed_ahead_and_none_before_the_first_is_asked_for():
    taken = []
    batches = Prefetch(_counted(9, taken), 2)
    assert taken == []
    next(batches)
    assert taken == [0, 1, 2]
    next(batches)
    assert taken == [0, 1, 2, 3]


def test_the_end_comes_after_the_last_batch():
    batches = Prefetch(_counted(3, []), 5)
    assert [float(each.inputs[0]) for each in batches] == [0, 1, 2]
    assert list(batches) == []


def test_an_error_comes_when_its_batch_is_due():
    def failing():
        yield from _counted(2, [])
        raise DataError("file 'x' is damaged")

    batches = Prefetch(failing(), 4)
    assert len(list(itertools.islice(batches, 2))) == 2
    for _ in range(2):
        with pytest.raises(DataError, match="file 'x' is damaged"):
            next(batches)


@pytest.mark.parametrize(
    ("platform", "ahead", "is_placed"),
    [("cpu", None, False), ("gpu", None, True), ("cpu", 1, True), ("gpu", 0, False)],
)
def test_on_cpus_nothing_is_placed_unless_asked_for(monkeypatch, platform, ahead, is_placed):
    monkeypatch.setattr("layup_jax.data.prefetch.jax_platform", lambda: platform)
    loader = _loader()
    batches = prefetched(loader, ahead)
    assert (batches is loader) != is_placed
    assert isinstance(next(batches).inputs, jax.Array) == is_placed
