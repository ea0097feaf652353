"""Pacing: own requests wait until communication has used no more than its share."""

import types

import pytest

from layup_jax.transport.pacing import Pacing


@pytest.fixture
def clocks(monkeypatch):
    """Wall time and this thread's processor time, which the test moves."""
    moments = types.SimpleNamespace(wall=50.0, processor=7.0)
    fake = types.SimpleNamespace(
        perf_counter=lambda: moments.wall, thread_time=lambda: moments.processor
    )
    monkeypatch.setattr("layup_jax.transport.pacing.time", fake)
    return moments


def _work(pacing, clocks, seconds):
    with pacing.work():
        clocks.processor += seconds
        clocks.wall += seconds


def test_is_ready_at_the_start(clocks):
    assert Pacing(0.1).ready()


def test_waits_until_work_was_its_share_of_the_time(clocks):
    pacing = Pacing(0.25)
    _work(pacing, clocks, 1.0)
    clocks.wall += 3.9
    assert not pacing.ready()
    clocks.wall += 0.2
    assert pacing.ready()


def test_work_adds_up(clocks):
    pacing = Pacing(0.5)
    _work(pacing, clocks, 1.0)
    _work(pacing, clocks, 1.0)
    clocks.wall += 2.9
    assert not pacing.ready()
    clocks.wall += 0.2
    assert pacing.ready()


def test_idle_time_is_not_saved_up(clocks):
    pacing = Pacing(0.5)
    clocks.wall += 100
    _work(pacing, clocks, 1.0)
    assert not pacing.ready()


def test_waiting_in_a_block_costs_nothing(clocks):
    pacing = Pacing(0.5)
    with pacing.work():
        clocks.wall += 10
    assert pacing.ready()


def test_work_that_fails_is_charged(clocks):
    pacing = Pacing(0.5)
    with pytest.raises(KeyError), pacing.work():
        clocks.processor += 1
        raise KeyError
    assert not pacing.ready()


def test_a_whole_share_is_no_limit(clocks):
    pacing = Pacing(1.0)
    _work(pacing, clocks, 5.0)
    assert pacing.ready()


@pytest.mark.parametrize("share", [0.04, 0.5])
def test_the_share_is_kept_over_many_requests(clocks, share):
    pacing, start, used = Pacing(share), clocks.wall, 0.0
    for turn in range(300):
        while not pacing.ready():
            clocks.wall += 0.001
        _work(pacing, clocks, 0.001 * (1 + turn % 5))
        used += 0.001 * (1 + turn % 5)
    while not pacing.ready():
        clocks.wall += 0.001
    assert used / (clocks.wall - start) <= share


def test_a_push_is_paid_for_by_its_sender(clocks):
    pacing = Pacing(0.5)
    pacing.pay_receipt()  # what it costs is not known yet
    assert pacing.ready()
    with pacing.receipt():
        clocks.processor += 1.0
    assert pacing.ready()
    pacing.pay_receipt()
    clocks.wall += 1.9
    assert not pacing.ready()
    clocks.wall += 0.2
    assert pacing.ready()


def test_who_receives_much_sends_as_much_as_the_others(clocks):
    """Ten pushes a second are taken by one of two workers; both may send equally often."""
    workers, sent = [Pacing(0.02), Pacing(0.02)], [0, 0]
    for turn in range(100_000):
        clocks.wall += 0.001
        for index, pacing in enumerate(workers):
            if turn % 100 == 0 or (index == 0 and turn % 10 == 0):
                with pacing.receipt():
                    clocks.processor += 0.0005
            if pacing.ready():
                _work(pacing, clocks, 0.0005)
                pacing.pay_receipt()
                sent[index] += 1
    assert sent[0] == pytest.approx(sent[1], rel=0.02)
    assert sent[0] > 1000
