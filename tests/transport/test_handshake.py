"""The exchange protocol, driven step by step on one thread in every order hypothesis can think of.

A node that enters a swap does nothing more until its partner has entered the same swap: that is what
blocks in a real transport. A deadlock is a moment when nobody can do anything and something is open.
"""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from layup_jax.transport.base import Kind
from layup_jax.transport.handshake import Handshake
from layup_jax.transport.local import local_transports

_MOST_TURNS = 5000


class Node:
    """One worker's handshake, with what it still wants and what it has swapped."""

    def __init__(self, transport):
        self.transport = transport
        self.handshake = Handshake(transport, self._enter)
        self.wants = []
        self.swapping = None
        self.history = []

    def _enter(self, peer, segment):
        entered = self.swapping[1] if self.swapping else ()
        self.swapping = (peer, (*entered, segment))
        self.history.append((peer, segment))
        return 10

    def propose(self):
        """Starts an exchange if it may; whether it did."""
        if self.swapping or self.handshake.is_open or not self.wants:
            return False
        self.handshake.propose(*self.wants.pop(0))
        return True

    def poll(self):
        """Takes one message if it may; whether there was one."""
        message = None if self.swapping else self.transport.poll()
        if message is None:
            return False
        if message.kind == Kind.PROPOSE:
            self.handshake.proposed(message)
        elif declined := self.handshake.answered(message):
            self.wants.append((message.source, declined))
        return True


class Net:
    """Nodes whose swaps complete once both sides have entered them."""

    def __init__(self, size):
        self.nodes = [Node(each) for each in local_transports(size)]

    def act(self, rank, action):
        done = getattr(self.nodes[rank], action)()
        self._complete_swaps()
        return done

    def _complete_swaps(self):
        for rank, node in enumerate(self.nodes):
            if node.swapping is None:
                continue
            peer, segments = node.swapping
            other = self.nodes[peer].swapping
            if other is not None and other[0] == rank:
                assert other[1] == segments, "both sides must swap the same segments in one order"
                node.swapping = self.nodes[peer].swapping = None

    def drain(self):
        """Lets everybody go on in turn until nobody can."""
        ranks = range(len(self.nodes))
        for _ in range(_MOST_TURNS):
            if any([self.act(rank, "poll") for rank in ranks]):
                continue
            if not any(self.act(rank, "propose") for rank in ranks):
                return
        raise AssertionError(f"still busy after {_MOST_TURNS} turns")

    def assert_done(self):
        for node in self.nodes:
            assert node.swapping is None, "a swap that the partner never enters"
            assert not node.handshake.is_open, "a proposal without an answer"
            assert not node.wants
        for rank, node in enumerate(self.nodes):
            for peer, other in enumerate(self.nodes):
                mine = [segment for mate, segment in node.history if mate == peer]
                theirs = [segment for mate, segment in other.history if mate == rank]
                assert mine == theirs


sizes = st.integers(2, 5)
segment_sets = st.sets(st.integers(0, 3), min_size=1, max_size=3).map(
    lambda chosen: tuple(sorted(chosen, reverse=True))
)
wishes = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), segment_sets), max_size=12)
actions = st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["propose", "poll"])), max_size=60)


def _net(size, wishes):
    net = Net(size)
    for number, offset, segments in wishes:
        rank = number % size
        peer = (rank + 1 + offset % (size - 1)) % size
        net.nodes[rank].wants.append((peer, segments))
    return net


@settings(max_examples=300)
@given(sizes, wishes, actions)
@example(3, [(0, 0, (1,)), (1, 0, (1,)), (2, 0, (1,))], [(r, "propose") for r in range(3)])
@example(
    4, [(r, 0, (2, 0)) for r in range(4)], [(r, a) for a in ("propose", "poll") for r in range(4)]
)
def test_nobody_waits_for_ever_and_both_sides_agree(size, wishes, actions):
    net = _net(size, wishes)
    wanted = sorted((rank, *wish) for rank, node in enumerate(net.nodes) for wish in node.wants)
    for rank, action in actions:
        net.act(rank % size, action)
    net.drain()
    net.assert_done()
    for rank, peer, segments in wanted:
        assert {(peer, segment) for segment in segments} <= set(net.nodes[rank].history)


def test_an_idle_worker_accepts():
    net = Net(2)
    net.nodes[0].wants = [(1, (3, 1))]
    assert net.act(0, "propose")
    assert net.nodes[0].handshake.is_open
    assert net.act(1, "poll")
    assert net.nodes[1].history == [(0, 3), (0, 1)]
    assert net.act(0, "poll")
    net.assert_done()
    assert [node.handshake.statistics().exchanges for node in net.nodes] == [2, 2]
    assert [node.handshake.statistics().sent_bytes for node in net.nodes] == [20, 20]


def test_a_worker_that_waits_for_another_is_busy():
    net = Net(3)
    net.nodes[0].wants, net.nodes[1].wants = [(1, (3, 1))], [(2, (0,))]
    assert net.act(0, "propose")
    assert net.act(1, "propose")
    assert net.act(1, "poll")  # answers busy
    assert net.nodes[1].history == []
    assert net.act(0, "poll")
    assert net.nodes[0].wants == [(1, (3, 1))]
    assert not net.nodes[0].handshake.is_open
    assert net.nodes[0].handshake.statistics().busy == 1
    net.drain()
    net.assert_done()


def test_proposals_that_cross_are_one_exchange_of_all_segments():
    net = Net(2)
    net.nodes[0].wants, net.nodes[1].wants = [(1, (3, 1))], [(0, (2, 1))]
    for action in ("propose", "poll"):
        for rank in range(2):
            assert net.act(rank, action)
    net.assert_done()
    assert [segment for _, segment in net.nodes[0].history] == [3, 2, 1]
    assert all(node.transport.poll() is None for node in net.nodes)
    assert [node.handshake.statistics().busy for node in net.nodes] == [0, 0]


def test_a_second_proposal_while_one_is_open_is_a_mistake():
    net = Net(3)
    net.nodes[0].handshake.propose(1, (0,))
    with pytest.raises(AssertionError, match="while one is open"):
        net.nodes[0].handshake.propose(2, (0,))


def test_an_answer_without_a_proposal_is_a_mistake():
    net = Net(2)
    net.nodes[1].handshake.propose(0, (0,))
    net.nodes[0].poll()
    accepted = net.nodes[1].transport.poll()
    net.nodes[1].handshake.answered(accepted)
    with pytest.raises(AssertionError, match="without a proposal"):
        net.nodes[1].handshake.answered(accepted)
