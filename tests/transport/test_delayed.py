"""A slow link: when messages, sums and exchanges leave, and that nothing is lost behind it."""

import jax.numpy as jnp
import numpy as np
import pytest
from gossip import Member, Scenario, assert_nothing_lost, assert_orderly_end, make_parts

from layup_jax.artificial import configured_transport
from layup_jax.config import validated
from layup_jax.draws import Draws
from layup_jax.pauses import Pauses
from layup_jax.transport.base import Kind
from layup_jax.transport.delayed import DelayedTransport, Link
from layup_jax.transport.local import local_transports, run_threads

EVERY_SECOND = Pauses(1.0, "every", 2)  # 0 s, 1 s, 0 s, ...


class Time:
    """A clock that goes on when told to."""

    def __init__(self):
        self.seconds = 0.0

    def now(self):
        return self.seconds


def _pair(latency=EVERY_SECOND, bytes_per_second=np.inf):
    """Two endpoints, the first with a slow link, and its time."""
    first, second = local_transports(2)
    time = Time()
    link = Link(latency, bytes_per_second)
    return DelayedTransport(first, link, now=time.now), second, time


def _sent(transport, *numbers, peer=1, size=0):
    body = np.zeros(size, np.uint8)
    return [transport.send(peer, Kind.PUSH, number, body) for number in numbers]


def _taken(transport):
    messages = iter(transport.poll, None)
    return [message.segment for message in messages]


def test_a_link_sends_one_after_the_other_and_latencies_overlap():
    link = Link(Pauses(0.5), bytes_per_second=100.0)
    assert [link.arrival(0.0, 100) for _ in range(3)] == [1.5, 2.5, 3.5]
    assert link.arrival(10.0, 0) == 10.5
    assert [Link(EVERY_SECOND, np.inf).arrival(now, 10**9) for now in (0.0, 7.0)] == [0.0, 7.0]


def test_messages_leave_at_their_time_and_do_not_overtake():
    slow, peer, time = _pair()
    sends = _sent(slow, 1, 2, 3)
    assert _taken(peer) == [1]
    time.seconds = 0.99
    assert [each.done() for each in sends] == [True, False, False]
    assert _taken(peer) == []
    time.seconds = 1.0
    assert [each.done() for each in sends] == [True, False, False]  # on their way
    assert _taken(peer) == [2, 3]
    assert [each.done() for each in sends] == [True, True, True]


def test_one_peer_does_not_wait_for_the_messages_of_another():
    endpoints, time = local_transports(3), Time()
    slow = DelayedTransport(endpoints[0], Link(EVERY_SECOND, np.inf), now=time.now)
    _sent(slow, 1, peer=1), _sent(slow, 2, peer=2), _sent(slow, 3, peer=1)
    assert (_taken(endpoints[1]), _taken(endpoints[2])) == ([1, 3], [])


def test_polling_lets_what_is_due_leave_and_delays_nothing_that_comes():
    slow, peer, time = _pair(Pauses(1.0))
    _sent(slow, 1)
    _sent(peer, 5, peer=0)
    assert _taken(slow) == [5]
    time.seconds = 1.0
    assert _taken(peer) == []
    assert slow.poll() is None
    assert _taken(peer) == [1]


def test_bytes_take_their_time_of_the_link():
    slow, peer, time = _pair(Pauses(), bytes_per_second=10.0)
    _sent(slow, 1, 2, size=20)
    for seconds, expected in ((1.9, []), (2.0, [1]), (3.9, []), (4.0, [2])):
        time.seconds = seconds
        slow.poll()
        assert _taken(peer) == expected


def test_a_sum_starts_when_what_a_ring_sends_would_be_there():
    slow, peer, time = _pair(Pauses(1.0), bytes_per_second=4.0)
    vector = np.ones(3, np.float32)  # 12 bytes, of two workers each sends as much as it has
    mine, theirs = slow.sum(vector), peer.sum(2 * vector)
    assert not mine.done()
    assert not theirs.done()
    time.seconds = 4.0
    assert mine.done()
    assert theirs.done()
    np.testing.assert_array_equal(mine.total, 3 * vector)


def test_an_exchange_starts_when_its_vector_would_be_there():
    """And never before the answer that makes the peer come."""
    slow, peer, time = _pair(Pauses(1.0), bytes_per_second=4.0)
    slow.send(1, Kind.ACCEPT, 0, np.zeros(0, np.uint8))  # there after 1 s
    mine, theirs = slow.swap(1, 0, jnp.zeros(2)), peer.swap(0, 0, jnp.ones(2))  # after 2 s and 1 s
    assert not mine.done()
    assert not theirs.done()
    assert peer.poll() is None
    time.seconds = 2.9
    assert not mine.done()
    assert peer.poll().kind == Kind.ACCEPT
    assert not theirs.done()
    time.seconds = 3.0
    assert mine.done()
    assert theirs.done()
    np.testing.assert_array_equal(mine.received, np.ones(2))
    np.testing.assert_array_equal(theirs.received, np.zeros(2))


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("delayed", [(0,), (0, 1, 2, 3)])
@pytest.mark.parametrize("mixing", ["pairwise", "push_sum"])
def test_nothing_is_lost_where_links_are_slow(mixing, delayed):
    """With communication threads and real, short times; workers end one after the other."""
    parts = make_parts(mixing, 4)
    scenario = Scenario(mixing, 5, (40, 30, 20, 25), (1.0, 0.5, 0.0, 1.0))
    delay = {"ranks": delayed, "message_seconds": 0.002, "pattern": "exponential", "link_mbit": 1}
    config = validated({"delay": delay})

    def run(transport):
        slow = configured_transport(config, transport)
        assert isinstance(slow, DelayedTransport) == (transport.rank in delayed)
        return Member(slow, parts, scenario).run()

    outcomes = run_threads(local_transports(4), run, lambda: None)
    assert_orderly_end(outcomes)
    assert_nothing_lost(outcomes)


def test_a_configured_link_is_that_of_its_rank():
    """Megabits are of 10^6 bits, and latencies are drawn by seed and rank."""
    delay = {"ranks": "all", "message_seconds": 0.5, "pattern": "exponential", "link_mbit": 8}
    config = validated({"delay": delay, "seed": 3})
    for transport in local_transports(2):
        slow = configured_transport(config, transport)
        draws = Draws(3, transport.rank)
        expected = Pauses(0.5, "exponential", draws=draws, stream=18).seconds_of(0)
        assert slow._link.arrival(0.0, 10**6) == pytest.approx(1.0 + expected)
