"""Collectives of segments without threads: order, workers that stop, and what is left over."""

import jax.numpy as jnp
import numpy as np
import pytest

from layup_jax.errors import PeerFailedError
from layup_jax.transport.base import Kind
from layup_jax.transport.collectives import Collectives
from layup_jax.transport.local import local_transports
from layup_jax.types import AllReduce, NeighbourGather, Shape

SHAPES = (Shape(3, np.dtype(np.float32)), Shape(2, np.dtype(np.float32)))


class Net:
    """Workers whose communication threads are stepped by hand."""

    def __init__(self, size):
        self.transports = local_transports(size)
        self.nodes = [Collectives(each, SHAPES, lambda: None) for each in self.transports]

    def ask(self, rank, request, *values):
        counted = (*values, 1.0) if isinstance(request, AllReduce) else values
        return self.nodes[rank].ask(request, jnp.asarray(counted, jnp.float32))

    def settle(self):
        for _ in range(10):
            for rank, node in enumerate(self.nodes):
                self._poll(rank, node)
                node.advance()

    def stop(self, rank):
        """As the communicator says it to the others."""
        farewell = self.nodes[rank].farewell()
        for peer in range(len(self.nodes)):
            if peer != rank:
                self.transports[rank].send(peer, Kind.FINISHED, 0, farewell)

    def _poll(self, rank, node):
        while (message := self.transports[rank].poll()) is not None:
            if message.kind == Kind.FINISHED:
                node.peer_stopped(message.source, message.body.view(np.int64))
            else:
                node.take(message)


def _received(ticket):
    return [np.asarray(each).tolist() for each in ticket.received]


def test_an_average_sums_everybody_and_counts_them():
    net = Net(3)
    tickets = [net.ask(rank, AllReduce(1), rank, 10.0 * rank) for rank in range(3)]
    net.settle()
    assert [_received(each) for each in tickets] == [[[3.0, 30.0, 3.0]]] * 3
    assert all(node.are_idle for node in net.nodes)
    sent = net.nodes[0].statistics()
    assert (sent.sent, sent.received, sent.sent_bytes) == (1, 1, round(4 / 3 * 12))


def test_an_average_waits_for_the_slowest():
    net = Net(2)
    ticket = net.ask(0, AllReduce(1), 1, 1)
    net.settle()
    assert not ticket.ready()
    assert net.nodes[0].are_started
    assert not net.nodes[0].are_idle
    net.ask(1, AllReduce(1), 1, 1)
    net.settle()
    assert ticket.ready()


@pytest.mark.parametrize("late", [False, True])
def test_who_has_stopped_contributes_nothing_and_hears_what_became_of_it(late):
    """Whether the others had started before they heard of it or not."""
    net = Net(3)
    if late:
        net.stop(2)
        net.settle()
    tickets = [net.ask(rank, AllReduce(1), 1, 2) for rank in range(2)]
    net.settle()
    if not late:
        assert not tickets[0].ready()
        net.stop(2)
        net.settle()
    assert [_received(each) for each in tickets] == [[[2.0, 4.0, 2.0]]] * 2
    assert [(each.segment, _received(each)) for each in net.nodes[2].late] == [
        (1, [[2.0, 4.0, 2.0]])
    ]


def test_sums_are_told_apart_when_one_worker_stops_in_between():
    """Worker 1 has started the first of two; it joins the second alone."""
    net = Net(2)
    first = net.ask(0, AllReduce(0), 1, 1, 1)
    second = net.ask(0, AllReduce(1), 5, 5)
    net.ask(1, AllReduce(0), 2, 2, 2)
    net.settle()
    assert (first.ready(), second.ready()) == (True, False)
    net.stop(1)
    net.settle()
    assert (_received(first), _received(second)) == ([[3.0, 3.0, 3.0, 2.0]], [[5.0, 5.0, 1.0]])
    assert [each.segment for each in net.nodes[1].late] == [1]


def test_neighbours_messages_meet_their_own_turns():
    """Worker 0 is two turns ahead of worker 1."""
    net = Net(2)
    ahead = [net.ask(0, NeighbourGather(1, (1,), (1,)), turn, 0) for turn in range(2)]
    net.settle()
    behind = []
    for turn in range(2):
        behind.append(net.ask(1, NeighbourGather(1, (0,), (0,)), 10 + turn, 0))
        net.settle()
        assert ahead[turn].ready()
        assert not any(each.ready() for each in ahead[turn + 1 :])
    assert [_received(each) for each in ahead] == [[[10.0, 0.0]], [[11.0, 0.0]]]
    assert [_received(each) for each in behind] == [[[0.0, 0.0]], [[1.0, 0.0]]]


def test_a_source_that_has_stopped_is_left_out_and_what_it_is_given_is_left_over():
    net = Net(3)
    net.stop(2)
    both = NeighbourGather(0, (1, 2), (1, 2))
    ticket = net.ask(0, both, 1, 1, 1)
    net.ask(1, NeighbourGather(0, (0,), (0,)), 7, 7, 7)
    net.settle()
    assert _received(ticket) == [[7.0, 7.0, 7.0]]
    ((segment, vector),) = net.nodes[2].leftovers()
    assert (segment, vector.tolist()) == (0, [1.0, 1.0, 1.0])
    assert net.nodes[2].leftovers() == []


def test_a_wait_is_given_up_when_its_check_raises():
    net = Net(2)
    ticket = net.ask(0, AllReduce(1), 1, 1)

    def check():
        raise PeerFailedError("worker 1 failed first")

    with pytest.raises(PeerFailedError, match="worker 1"):
        ticket.wait(check)


def test_only_those_who_asked_tell_those_that_have_stopped():
    """A worker that only helps sends nothing: the others may be gone before they could take it."""
    net = Net(3)
    for rank in (1, 2):
        net.stop(rank)
    net.settle()
    net.ask(0, AllReduce(1), 1, 1)
    net.nodes[0].advance()
    messages = [net.transports[rank].poll() for rank in (1, 2)]
    for node, message in zip(net.nodes[1:], messages, strict=True):
        assert message.kind == Kind.JOIN
        node.take(message)
    assert [transport.poll() for transport in net.transports] == [None] * 3
    net.settle()
    assert all(node.are_idle for node in net.nodes)
