"""The exchange protocol, driven step by step on one thread in every order hypothesis can think of.

Where swaps block, a node that is in an exchange does nothing until its partner has entered it too. A
deadlock is a moment when nobody can do anything and something is open.
"""

import time

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from layup_jax.transport.base import Kind
from layup_jax.transport.handshake import Handshake
from layup_jax.transport.local import local_transports

_MOST_TURNS = 5000


class Late:
    """A swap that is done some looks later than it might be."""

    def __init__(self, swapping, looks):
        self._swapping = swapping
        self._looks = looks

    def done(self):
        self._looks -= 1
        return self._looks < 0 and self._swapping.done()

    @property
    def received(self):
        return self._swapping.received


class Node:
    """One worker's handshake, with what it still wants and what it has swapped; itself the port."""

    def __init__(self, transport, swaps_block=False, looks=0):
        swap = transport.swap
        transport.swaps_block = swaps_block
        transport.swap = lambda *arguments: Late(swap(*arguments), looks)
        self.transport = transport
        self.handshake = Handshake(transport, self)
        self.wants = []
        self.history = []
        self._given = 0

    def outgoing(self, segment):
        self._given += 1
        return np.array([self.transport.rank, self._given])

    def incoming(self, segment, sent, received):
        self.history.append((segment, tuple(sent), tuple(received)))

    @property
    def swapped(self):
        """[(peer, segment)], in order."""
        return [(int(received[0]), segment) for segment, _, received in self.history]

    @property
    def is_blocked(self):
        return self.transport.swaps_block and bool(self.handshake.peers)

    def propose(self):
        """Starts an exchange if it may; whether it did."""
        if self.is_blocked or not self.handshake.may_propose:
            return False
        for index, (peer, segments) in enumerate(self.wants):
            if peer not in self.handshake.peers:
                del self.wants[index]
                self.handshake.propose(peer, segments)
                return True
        return False

    def poll(self):
        """Takes one message if it may; whether there was one."""
        message = None if self.is_blocked else self.transport.poll()
        if message is None:
            return False
        if message.kind == Kind.PROPOSE:
            self.handshake.proposed(message)
        elif declined := self.handshake.answered(message):
            self.wants.append((message.source, declined))
        return True

    def advance(self):
        """Goes on with its exchanges; whether it could."""
        return self.handshake.advance()


class Net:
    """Connected nodes; `looks` is by how many the first one's swaps are late."""

    def __init__(self, size, swaps_block=False, looks=0):
        self.looks = looks
        first, *others = local_transports(size)
        self.nodes = [
            Node(first, swaps_block, looks),
            *(Node(each, swaps_block) for each in others),
        ]

    def act(self, rank, action):
        return getattr(self.nodes[rank], action)()

    def all(self, action):
        return any([self.act(rank, action) for rank in range(len(self.nodes))])

    def drain(self):
        """Lets everybody go on in turn until nobody can; one proposes at a time, as by random pauses."""
        ranks = range(len(self.nodes))
        for _ in range(_MOST_TURNS):
            if self.all("poll") or any([self.all("advance") for _ in range(1 + self.looks)]):
                continue
            if not any(self.act(rank, "propose") for rank in ranks):
                return
        raise AssertionError(f"still busy after {_MOST_TURNS} turns")

    def assert_done(self):
        for node in self.nodes:
            assert node.handshake.is_idle, "a proposal without an answer, or an endless exchange"
            assert not node.wants
        given = sorted(each for node in self.nodes for each in node.history)
        taken = sorted((s, theirs, mine) for node in self.nodes for s, mine, theirs in node.history)
        assert given == taken, "what one side sent the other must have merged, and the reverse"


sizes = st.integers(2, 5)
segment_sets = st.sets(st.integers(0, 3), min_size=1, max_size=3).map(
    lambda chosen: tuple(sorted(chosen, reverse=True))
)
wishes = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), segment_sets), max_size=12)
actions = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from(["propose", "poll", "advance"])), max_size=90
)


@settings(max_examples=600)
@given(sizes, wishes, actions, st.booleans(), st.integers(0, 3))
@example(3, [(0, 0, (1,)), (1, 0, (1,)), (2, 0, (1,))], [(r, "propose") for r in range(3)], True, 0)
@example(
    3, [(0, 0, (1,)), (1, 0, (1,)), (2, 0, (1,))], [(r, "propose") for r in range(3)], False, 0
)
@example(
    4,
    [(r, 0, (2, 0)) for r in range(4)],
    [(r, a) for a in ("propose", "poll") for r in range(4)],
    True,
    0,
)
def test_nobody_waits_for_ever_and_both_sides_agree(size, wishes, actions, swaps_block, looks):
    net, wanted = Net(size, swaps_block, looks), []
    for number, offset, segments in wishes:
        rank = number % size
        peer = (rank + 1 + offset % (size - 1)) % size
        net.nodes[rank].wants.append((peer, segments))
        wanted.append((rank, {(peer, segment) for segment in segments}))
    for rank, action in actions:
        net.act(rank % size, action)
    net.drain()
    net.assert_done()
    for rank, swaps in wanted:
        assert swaps <= set(net.nodes[rank].swapped)


@pytest.mark.parametrize("swaps_block", [True, False])
def test_an_idle_worker_accepts(swaps_block):
    net = Net(2, swaps_block)
    net.nodes[0].wants = [(1, (3, 1))]
    assert net.act(0, "propose")
    assert net.nodes[0].handshake.is_open
    assert net.act(1, "poll")
    net.drain()
    net.assert_done()
    assert net.nodes[1].swapped == [(0, 3), (0, 1)]
    assert [node.handshake.statistics().exchanges for node in net.nodes] == [2, 2]
    assert [node.handshake.statistics().sent_bytes for node in net.nodes] == [32, 32]


def test_where_swaps_block_a_worker_that_waits_for_another_is_busy():
    net = Net(3, swaps_block=True)
    net.nodes[0].wants, net.nodes[1].wants = [(1, (3, 1))], [(2, (0,))]
    assert net.act(0, "propose")
    assert net.act(1, "propose")
    assert net.act(1, "poll")  # answers busy
    assert net.act(0, "poll")
    assert net.nodes[0].wants == [(1, (3, 1))]
    assert not net.nodes[0].handshake.is_open
    assert net.nodes[0].handshake.statistics().busy == 1
    net.drain()
    net.assert_done()


def test_elsewhere_it_accepts_one_beside_its_own():
    """Worker 1 waits for 2, which does not even look, and meanwhile exchanges with 0, but not with 3."""
    net = Net(4)
    for rank, peer in ((0, 1), (3, 1), (1, 2)):
        net.nodes[rank].wants = [(peer, (3, 1))]
    assert net.all("propose")
    assert net.act(1, "poll")
    assert net.act(1, "poll")
    assert net.act(0, "poll")
    assert net.act(1, "advance")
    assert net.nodes[1].handshake.is_open
    assert net.nodes[1].swapped[0] == (0, 3)
    assert net.act(3, "poll")
    assert net.nodes[3].handshake.statistics().busy == 1
    net.drain()
    net.assert_done()


def test_it_says_when_to_look_again():
    net = Net(2)
    one = net.nodes[0].handshake
    assert one.nap_seconds() is None
    net.nodes[1].handshake.propose(0, (3,))
    net.act(0, "poll")
    naps = [one.nap_seconds()]
    time.sleep(0.02)
    naps.append(one.nap_seconds())
    assert 0.0002 <= naps[0] < naps[1]
    net.act(1, "poll")
    assert one.nap_seconds() == 0
    assert net.act(0, "advance")
    assert one.nap_seconds() is None


def test_two_exchanges_at_once_take_their_time_once():
    net = Net(3, looks=20)
    net.nodes[0].wants, net.nodes[2].wants = [(1, (3,))], [(0, (3,))]
    start = time.perf_counter()
    assert net.all("propose")
    assert net.act(1, "poll")
    for _ in range(2):  # accepts 2's proposal, is accepted by 1
        assert net.act(0, "poll")
    assert set(net.nodes[0].handshake.peers) == {1, 2}
    time.sleep(0.05)
    net.drain()
    net.assert_done()
    taken = net.nodes[0].handshake.statistics().swap_seconds
    assert 0.05 <= taken <= time.perf_counter() - start


def test_of_two_workers_one_exchange_is_under_way_at_a_time():
    net = Net(2)
    net.nodes[0].wants, net.nodes[1].wants = [(1, (3, 1))], [(0, (2,))]
    assert net.act(0, "propose")
    assert net.act(1, "poll")  # accepts
    assert not net.act(1, "propose")
    assert list(net.nodes[1].handshake.peers) == [0]
    net.drain()
    net.assert_done()
    assert [segment for _, segment in net.nodes[0].swapped] == [3, 1, 2]


@pytest.mark.parametrize(("looks", "busy"), [(0, 0), (5, 1)])
def test_who_is_behind_with_an_exchange_is_busy_for_the_next(looks, busy):
    net = Net(2, looks=looks)
    net.nodes[1].wants = [(0, (3,)), (0, (2,))]
    assert net.act(1, "propose")
    assert net.act(0, "poll")
    assert net.act(1, "poll")  # has all it needs, while 0 has not looked
    assert net.nodes[1].handshake.is_idle
    assert net.act(1, "propose")
    assert net.act(0, "poll")
    assert net.act(1, "poll")
    assert net.nodes[1].handshake.statistics().busy == busy
    net.drain()
    net.assert_done()


@pytest.mark.parametrize("swaps_block", [True, False])
def test_proposals_that_cross_are_one_exchange_of_all_segments(swaps_block):
    net = Net(2, swaps_block)
    net.nodes[0].wants, net.nodes[1].wants = [(1, (3, 1))], [(0, (2, 1))]
    assert net.all("propose")
    net.drain()
    net.assert_done()
    assert [segment for _, segment in net.nodes[0].swapped] == [3, 2, 1]
    assert all(node.transport.poll() is None for node in net.nodes)
    assert [node.handshake.statistics().busy for node in net.nodes] == [0, 0]


def test_an_exchange_that_fails_is_over():
    net = Net(2)
    net.nodes[0].handshake.propose(1, (0, 1))
    net.act(1, "poll")

    def fail(segment, sent, received):
        raise MemoryError("no room")

    net.nodes[0].incoming = fail
    with pytest.raises(MemoryError):
        net.act(0, "poll")
    net.act(0, "advance")
    assert net.nodes[0].handshake.is_idle


def test_a_second_proposal_while_one_is_open_is_a_mistake():
    net = Net(3)
    net.nodes[0].handshake.propose(1, (0,))
    with pytest.raises(AssertionError, match=r"proposal to 2 while there is .*peer=1"):
        net.nodes[0].handshake.propose(2, (0,))


def test_a_proposal_in_an_exchange_with_that_worker_is_a_mistake():
    net = Net(2)
    net.nodes[0].handshake.propose(1, (0,))
    net.act(1, "poll")
    with pytest.raises(AssertionError, match="proposal to 0 in an exchange with it"):
        net.nodes[1].handshake.propose(0, (0,))


def test_an_answer_without_a_proposal_is_a_mistake():
    net = Net(2)
    net.nodes[1].handshake.propose(0, (0,))
    net.nodes[0].poll()
    accepted = net.nodes[1].transport.poll()
    net.nodes[1].handshake.answered(accepted)
    with pytest.raises(AssertionError, match="without a proposal"):
        net.nodes[1].handshake.answered(accepted)
