"""The partition `auto`: a segment must be worth its two dispatches."""

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from layup_jax.engine.engine import Engine
from layup_jax.engine.measure import WORTH, Measurement, choose, measure_partition
from layup_jax.strategies import LayUpOptions, Local, layup
from layup_jax.topology import complete

seconds = st.lists(st.floats(1e-6, 1e-1), min_size=1, max_size=12)


@given(seconds, st.floats(1e-6, 1e-2))
def test_each_segment_is_worth_its_dispatches(layer_seconds, dispatch):
    partition = choose(layer_seconds, dispatch)
    assert [start for start, _ in partition] == [0, *(stop for _, stop in partition[:-1])]
    assert partition[-1][1] == len(layer_seconds)
    if len(partition) > 1:
        # Sums in another order may differ in the last digit.
        least = 2 * WORTH * dispatch * (1 - 1e-6)
        assert all(sum(layer_seconds[start:stop]) >= least for start, stop in partition)


def test_layers_that_are_worth_it_stay_alone():
    assert choose([1.0, 2.0, 1.0], 1e-3) == ((0, 1), (1, 2), (2, 3))
    assert choose([1e-4] * 3, 1e-3) == ((0, 3),)
    assert choose([1.0, 1e-4, 1e-4, 1.0], 1e-3) == ((0, 1), (1, 4))


@pytest.mark.parametrize(
    ("name", "strategy"),
    [
        ("normed", Local(tiny.sgd())),
        ("token", layup(tiny.sgd(), complete(2), LayUpOptions("push_sum"))),
    ],
)
def test_every_layer_is_measured(name, strategy):
    make, batch = tiny.MODELS[name]
    model = make()
    engine = Engine(model, [(i, i + 1) for i in range(len(model))], tiny.loss, strategy)
    measured = measure_partition(engine, batch())
    assert len(measured.layer_seconds) == len(model)
    assert min(measured.layer_seconds) > 0
    assert measured.partition == choose(measured.layer_seconds, measured.dispatch_seconds)


def test_emulated_layers_are_as_long_as_they_are_made_to_be():
    make, batch = tiny.MODELS["token"]
    model = make()
    partition = [(i, i + 1) for i in range(len(model))]
    engine = Engine(model, partition, tiny.loss, Local(tiny.sgd()))
    measured = measure_partition(engine, batch(), emulated_seconds=100.0)
    with_parameters = [seconds > 100 for seconds in measured.layer_seconds]
    assert with_parameters == [True, True, True, False, True]
    assert measured.partition == ((0, 1), (1, 2), (2, 3), (3, 5))


def test_says_what_it_measured():
    measured = Measurement(((0, 2), (2, 3)), 12e-6, (1e-3, 2e-3, 30e-6))
    assert str(measured) == "2 segments of 3 layers (a dispatch takes 12 us, a layer 30 to 2000 us)"
