"""What only A2CiD2 promises: its clocks, how often it asks, and what its special cases equal."""

from collections import Counter

import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from layup_jax.draws import Draws
from layup_jax.strategies import LayUpOptions, layup
from layup_jax.strategies.a2cid2 import A2CiD2
from layup_jax.topology import complete, ring
from layup_jax.types import Exchange, SegmentUpdated

STEPS = 4000


def _counts(rate, segment=1):
    strategy = A2CiD2(tiny.sgd(), ring(8), rate)
    return [strategy.requests(SegmentUpdated(segment, step), Draws(0, 3)) for step in range(STEPS)]


@pytest.mark.parametrize("rate", [0.2, 1.0, 4.0])
def test_asks_as_often_as_a_poisson_clock_of_half_its_rate(rate):
    counts = np.array([len(each) for each in _counts(rate)])
    # Five standard deviations of the mean; the variance of a Poisson variable is its mean.
    assert counts.mean() == pytest.approx(rate / 2, abs=5 * np.sqrt(rate / 2 / STEPS))
    assert counts.var() == pytest.approx(rate / 2, rel=0.15)


def test_asks_neighbours_only_each_in_a_lane_of_its_own():
    asked = _counts(4.0)
    assert Counter(each.peer for group in asked for each in group).keys() == {2, 4}
    for group in asked:
        assert [each.lane for each in group] == list(range(len(group)))
        assert all(isinstance(each, Exchange) and each.segment == 1 for each in group)


def test_segments_of_a_step_travel_together():
    for one, other in zip(_counts(1.0, 0), _counts(1.0, 2), strict=True):
        assert [each._replace(segment=2) for each in one] == list(other)


def _bare(state):
    return state._replace(opt_state=None, model_state=None)


def _exchange(strategy, left, right, now):
    left, sent = strategy.payload(_bare(left), now)
    right, reply = strategy.payload(_bare(right), now)
    return strategy.receive(left, sent, reply, now), strategy.receive(right, reply, sent, now)


def _pair(strategy, seed=0):
    rng = np.random.default_rng(seed)
    return [strategy.init(jnp.asarray(rng.normal(size=4), jnp.float32), ()) for _ in range(2)]


def test_the_unit_of_time_is_the_interval_between_exchanges():
    strategy = A2CiD2(tiny.sgd(), ring(16))
    left, right = _pair(strategy)
    for now in (1.0, 3.0, 5.0):
        left, right = _exchange(strategy, left, right, now)
    assert float(left.mixing.interval) == pytest.approx(2.0)
    flowed, _ = strategy.payload(left, 6.0)  # half a unit after the last event
    share = -np.expm1(-2 * 0.142474 * 0.5) / 2
    expected = left.params + share * (left.mixing.twin - left.params)
    np.testing.assert_allclose(flowed.params, expected, rtol=1e-5)


def test_a_gradient_moves_both_variables_by_one_and_the_same_step():
    strategy = A2CiD2(tiny.sgd(), ring(16))
    state, _ = _pair(strategy)
    after = strategy.apply_gradient(state, jnp.ones(4), 0.0)
    np.testing.assert_allclose(after.params - state.params, after.mixing.twin - state.mixing.twin)
    assert np.all(np.asarray(after.params) < np.asarray(state.params))


def test_sums_over_both_variables_and_workers_stay():
    strategy = A2CiD2(tiny.sgd(), ring(16))
    states = _pair(strategy)
    total = sum(np.asarray(each.params + each.mixing.twin, np.float64) for each in states)
    for now in np.cumsum(np.random.default_rng(3).exponential(size=20)):
        states = _exchange(strategy, *states, now)
    after = sum(np.asarray(each.params + each.mixing.twin, np.float64) for each in states)
    np.testing.assert_allclose(after, total, rtol=1e-4, atol=1e-5)


def test_on_a_complete_graph_it_is_randomized_pairwise_averaging():
    ours = A2CiD2(tiny.sgd(), complete(2))
    plain = layup(tiny.sgd(), complete(2), LayUpOptions("pairwise"))
    mine, theirs = _pair(ours), _pair(plain)
    for now in (1.0, 2.0, 3.0):
        mine, theirs = _exchange(ours, *mine, now), _exchange(plain, *theirs, now)
        for one, other in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(one.params, other.params, rtol=1e-6)
