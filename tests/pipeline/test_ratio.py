"""The choice of threads: the fewest that do nearly as much as any."""

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from schedules import tiny_engine

from layup_jax.pipeline.delays import Delays, Emulated, TimeSource
from layup_jax.pipeline.ratio import Measured, best, measure_passes, predicted


def _alone(forward, backward):
    return Measured(forward, backward, forward + backward)


@pytest.mark.parametrize(
    ("forward", "backward", "cores", "expected"),
    [
        (1.0, 2.0, 1, (1, 1)),  # one core: nothing overlaps, so no more threads than need be
        (1.0, 1.0, 2, (1, 1)),
        (1.0, 2.0, 2, (1, 2)),  # 1:1 would leave a core idle half of the time
        (2.0, 1.0, 2, (2, 1)),
        (1.0, 2.0, 3, (1, 2)),
        (1.0, 3.0, 4, (1, 3)),
        (1.0, 2.0, 6, (2, 4)),
    ],
)
def test_the_fewest_threads_that_keep_the_cores_busy(forward, backward, cores, expected):
    choice = best(_alone(forward, backward), cores)
    assert choice.ratio[:2] == expected
    assert choice.ratio.queue == max(expected)
    assert best(_alone(forward, backward), cores, queue=7).ratio.queue == 7


def test_says_why():
    reason = best(_alone(0.001, 0.002), 2).reason
    assert reason == (
        "1:2 because a forward pass takes 1.00 ms, a backward pass 2.00 times as long on 2 cores: "
        "at most 2.00 times the steps of one thread"
    )
    assert " on 1 core: at most 1.00 times" in best(_alone(0.001, 0.002), 1).reason


def test_operations_that_use_several_cores_leave_fewer_for_others():
    assert best(Measured(1.0, 2.0, 6.0), 2).ratio[:2] == (1, 1)


@given(st.floats(1e-4, 10), st.floats(1e-4, 10), st.integers(1, 8))
def test_no_ratio_promises_more_than_a_few_per_cent_more(forward, backward, cores):
    measured = _alone(forward, backward)
    choice = best(measured, cores).ratio
    most = max(
        predicted(measured, cores, f, b) for f in range(1, 9) for b in range(1, 9) if f + b <= 10
    )
    found = predicted(measured, cores, choice.forward, choice.backward)
    if forward / backward < 5 and backward / forward < 5 and cores <= 2:
        assert found >= 0.97 * most
    assert found <= cores / (forward + backward) * (1 + 1e-9)


def test_measures_both_passes_and_keeps_nothing():
    measured = measure_passes(tiny_engine(), tiny.features(), Delays())
    assert measured.forward_seconds > 0
    assert measured.backward_seconds > 0
    least = measured.forward_seconds + measured.backward_seconds
    assert measured.core_seconds >= least * (1 - 1e-9)


def test_artificial_time_lengthens_passes_but_takes_no_core():
    emulated = Emulated((10.0, 0.0, 20.0, 30.0), (100.0, 0.0, 200.0, 300.0))
    delays = Delays(emulated=emulated, slowdown=2.0, source=TimeSource(sleep=_never))
    measured = measure_passes(tiny_engine(), tiny.features(), delays)
    assert 2 * 60 < measured.forward_seconds < 2 * 70
    assert 2 * 600 < measured.backward_seconds < 2 * 610
    assert 0 < measured.core_seconds < 20


def _never(seconds):
    raise AssertionError(f"slept {seconds} s to measure")
