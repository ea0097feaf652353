"""The clock of training stands still during evaluations."""

import types

import pytest

from layup_jax.clock import WallClock


@pytest.fixture
def wall(monkeypatch):
    """The time of day, as a list whose only entry the test moves."""
    moment = [100.0]
    fake = types.SimpleNamespace(perf_counter=lambda: moment[0])
    monkeypatch.setattr("layup_jax.clock.time", fake)
    return moment


def test_starts_at_zero_and_goes(wall):
    clock = WallClock()
    assert clock.now() == 0
    wall[0] += 3
    assert clock.now() == 3


def test_pauses_are_left_out(wall):
    clock = WallClock()
    wall[0] += 1
    with clock.paused():
        wall[0] += 10
        assert clock.now() == 1
    wall[0] += 2
    assert clock.now() == 3
    assert clock.paused_seconds() == 10


def test_an_error_ends_a_pause(wall):
    clock = WallClock()
    with pytest.raises(KeyError), clock.paused():
        raise KeyError
    wall[0] += 2
    assert clock.now() == 2


def test_restart_forgets_pauses(wall):
    clock = WallClock()
    with clock.paused():
        wall[0] += 10
    clock.restart()
    assert (clock.now(), clock.paused_seconds()) == (0, 0)
