"""Partitions cover all layers in order, keep their promise on size, and refuse nonsense."""

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from layup_jax.errors import ConfigError
from layup_jax.models import partition_layers
from layup_jax.models.partition import balanced, fused

sizes = st.lists(st.integers(0, 10**6), min_size=1, max_size=20)


def assert_covers(partition, layers):
    assert partition[0][0] == 0
    assert partition[-1][1] == layers
    assert all(start < stop for start, stop in partition)
    assert all(a[1] == b[0] for a, b in itertools.pairwise(partition))


@given(sizes)
def test_by_layer_and_by_model(sizes):
    assert partition_layers("layer", sizes) == tuple((i, i + 1) for i in range(len(sizes)))
    assert partition_layers("model", sizes) == ((0, len(sizes)),)


@given(sizes, st.data())
def test_by_count_gives_exactly_that_many(sizes, data):
    count = data.draw(st.integers(1, len(sizes)))
    partition = partition_layers(count, sizes)
    assert len(partition) == count
    assert_covers(partition, len(sizes))
    assert partition_layers(str(count), sizes) == partition


@given(st.lists(st.integers(1, 50), min_size=2, max_size=9))
def test_two_segments_are_as_equal_as_they_can_be(sizes):
    (start, cut), (_, stop) = balanced(sizes, 2)
    difference = abs(sum(sizes[start:cut]) - sum(sizes[cut:stop]))
    best = min(abs(sum(sizes[:at]) - sum(sizes[at:])) for at in range(1, len(sizes)))
    assert difference == best


def test_equal_layers_are_shared_out_equally():
    assert balanced([7] * 12, 4) == ((0, 3), (3, 6), (6, 9), (9, 12))


@given(sizes, st.integers(0, 10**7), st.sampled_from(["B", "kB", "MB"]))
@example([0, 0], 0, "B")
def test_by_bytes_keeps_the_least_size_unless_the_model_is_smaller(sizes, number, unit):
    least = number * {"B": 1, "kB": 10**3, "MB": 10**6}[unit]
    partition = partition_layers(f"{number}{unit}", sizes)
    assert_covers(partition, len(sizes))
    costs = [sum(sizes[start:stop]) for start, stop in partition]
    assert all(cost >= least for cost in costs) or partition == ((0, len(sizes)),)


@given(sizes, st.integers(1, 10**6))
def test_by_bytes_fuses_no_more_than_needed(sizes, least):
    for start, stop in fused(sizes, least)[:-1]:
        assert sum(sizes[start : stop - 1]) < least


def test_sizes_may_have_fractions_and_spaces():
    assert partition_layers("1.5kB", [1000, 600, 10]) == ((0, 3),)
    assert partition_layers("1.5 kB", [1000, 600, 1500]) == ((0, 2), (2, 3))


@pytest.mark.parametrize("count", [0, -1, 4, "4", "0"])
def test_refuses_counts_that_do_not_fit(count):
    with pytest.raises(ConfigError, match=r"must cut 3 layers into 1 to 3 segments, got -?\d; use"):
        partition_layers(count, [1, 1, 1])


@pytest.mark.parametrize("spec", ["", "layers", "auto", "kB", "-1", "1e3B", "64 KB", "2.", "²"])
def test_refuses_what_means_nothing(spec):
    with pytest.raises(ConfigError, match=r"must be layer, model, auto, .* got '.*'; use one"):
        partition_layers(spec, [1, 1, 1])
