"""The outbox: bounded by the number of segments, newest wins, nothing declined is lost."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layup_jax.transport.outbox import Outbox, OutboxStatistics
from layup_jax.types import Exchange, Push

requests = st.builds(
    lambda kind, segment, peer: kind(segment, peer),
    st.sampled_from([Exchange, Push]),
    st.integers(0, 4),
    st.integers(0, 2),
)
JOIN_SECONDS = 30


def _filled(*requests):
    outbox = Outbox()
    for request in requests:
        outbox.put(request)
    return outbox


def _emptied(outbox):
    groups = []
    while group := outbox.take():
        groups.append(group)
    return groups


def test_takes_the_oldest_with_all_others_of_its_kind_and_peer():
    outbox = _filled(Exchange(3, 1), Exchange(2, 0), Push(1, 1), Exchange(0, 1))
    assert len(outbox) == 4
    assert _emptied(outbox) == [
        (Exchange(3, 1), Exchange(0, 1)),
        (Exchange(2, 0),),
        (Push(1, 1),),
    ]
    assert outbox.take() == ()


def test_a_newer_request_takes_the_place_of_the_older_one():
    outbox = _filled(Exchange(3, 1), Exchange(2, 0), Exchange(3, 2))
    assert outbox.statistics() == OutboxStatistics(asked=3, coalesced=1)
    assert _emptied(outbox) == [(Exchange(3, 2),), (Exchange(2, 0),)]


def test_lanes_do_not_replace_one_another():
    outbox = _filled(Exchange(3, 1), Exchange(3, 2, lane=1), Exchange(3, 0))
    assert outbox.statistics() == OutboxStatistics(asked=3, coalesced=1)
    assert _emptied(outbox) == [(Exchange(3, 0),), (Exchange(3, 2, lane=1),)]


@given(st.lists(requests, max_size=30))
def test_holds_the_newest_request_of_each_segment_and_no_more(line):
    outbox, newest = _filled(*line), {request.segment: request for request in line}
    assert len(outbox) == len(newest)
    assert sorted(sum(_emptied(outbox), ()), key=lambda r: r.segment) == sorted(
        newest.values(), key=lambda r: r.segment
    )
    assert outbox.statistics() == OutboxStatistics(len(line), len(line) - len(newest))


@given(st.lists(requests, max_size=10), st.lists(requests, max_size=10))
def test_restore_is_the_inverse_of_take_except_where_something_newer_came(before, meanwhile):
    outbox, untouched = _filled(*before), _filled(*before)
    group = outbox.take()
    outbox.restore(group)
    assert _emptied(outbox) == _emptied(untouched)

    outbox = _filled(*before)
    group = outbox.take()
    for request in meanwhile:
        outbox.put(request)
    outbox.restore(group)
    newest = {request.segment: request for request in [*before, *meanwhile]}
    found = {request.segment: request for taken in _emptied(outbox) for request in taken}
    assert found == newest


def test_what_is_restored_comes_first():
    outbox = _filled(Exchange(3, 1), Exchange(2, 0))
    group = outbox.take()
    outbox.put(Exchange(1, 0))
    outbox.restore(group)
    assert _emptied(outbox)[0] == (Exchange(3, 1),)


def test_a_closed_outbox_takes_nothing_in_and_gives_out_the_rest():
    outbox = _filled(Push(0, 1), Push(1, 2))
    outbox.close()
    outbox.close()
    outbox.put(Push(2, 1))
    assert outbox.statistics().asked == 2
    group = outbox.take()
    outbox.restore(group)  # what a peer declined after the end of training is still served
    assert _emptied(outbox) == [(Push(0, 1),), (Push(1, 2),)]


@pytest.mark.parametrize("segments", [1, 5])
def test_a_thread_that_puts_and_one_that_takes_lose_nothing(segments):
    outbox, done, seen = Outbox(), threading.Event(), []

    def put():
        for number in range(2000):
            outbox.put(Push(number % segments, number))
        done.set()

    def take():
        while not done.is_set() or len(outbox):
            seen.extend(outbox.take())

    threads = [threading.Thread(target=put), threading.Thread(target=take)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(JOIN_SECONDS)
    statistics = outbox.statistics()
    assert statistics.asked == 2000
    assert len(seen) == 2000 - statistics.coalesced
    for segment in range(segments):
        peers = [request.peer for request in seen if request.segment == segment]
        assert peers == sorted(peers)
        assert peers[-1] == 2000 - segments + segment
