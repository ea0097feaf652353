"""Sums over workers that nobody waits for, and that come out even at the end."""

import numpy as np
import pytest

from layup_jax.transport.local import local_transports, run_threads
from layup_jax.transport.reductions import Reductions


def _queues(size):
    return [Reductions(each) for each in local_transports(size)]


def _advance(queues, turns=8):
    for _ in range(turns):
        for queue in queues:
            queue.advance()


def _vector(value):
    return np.full(3, value, np.float32)


def test_nobody_waits_and_the_last_one_completes_it():
    first, second = _queues(2)
    ticket = first.ask(_vector(1), 3)
    _advance([first, second])
    assert not ticket.ready()
    assert first.outstanding == 1
    other = second.ask(_vector(5), 3)
    _advance([first, second])
    assert ticket.ready()
    assert other.ready()
    np.testing.assert_array_equal(ticket.total, _vector(6))
    np.testing.assert_array_equal(other.total, _vector(6))
    assert first.outstanding == second.outstanding == 0


def test_sums_are_matched_in_the_order_they_were_asked_for():
    first, second = _queues(2)
    tickets = [first.ask(_vector(value), 3) for value in (1, 2, 3)]
    assert first.outstanding == 3
    _advance([first, second])
    others = [second.ask(_vector(10 * value), 3) for value in (1, 2, 3)]
    _advance([first, second])
    for value, ticket, other in zip((11, 22, 33), tickets, others, strict=True):
        np.testing.assert_array_equal(ticket.total, _vector(value))
        np.testing.assert_array_equal(other.total, _vector(value))


def test_nothing_counts_as_zeros():
    first, second = _queues(2)
    nothing, something = first.ask(None, 3), second.ask(_vector(4), 3)
    _advance([first, second])
    np.testing.assert_array_equal(nothing.total, _vector(4))
    np.testing.assert_array_equal(something.total, _vector(4))


def test_zeros_are_made_only_when_their_turn_comes():
    (alone,) = _queues(1)
    tickets = [alone.ask(_vector(1), 3), alone.ask(None, 3)]
    assert tickets[1].total is None
    _advance([alone])
    np.testing.assert_array_equal(tickets[1].total, _vector(0))


@pytest.mark.parametrize("counts", [(0,), (2, 2), (0, 3), (5, 0, 2), (1, 4, 0, 2), (0, 0)])
def test_settling_evens_out_what_was_asked(counts):
    tickets = {rank: [] for rank in range(len(counts))}

    def work(transport):
        queue = Reductions(transport)
        for turn in range(counts[transport.rank]):
            tickets[transport.rank].append(queue.ask(_vector(10**turn), 3))
        queue.settle()
        assert queue.outstanding == 0
        final = queue.ask(_vector(1), 3)
        queue.settle()
        return final

    finals = run_threads(local_transports(len(counts)), work, lambda: None)
    for final in finals:
        np.testing.assert_array_equal(final.total, _vector(len(counts)))
    for mine in tickets.values():
        for turn, ticket in enumerate(mine):
            takers = sum(count > turn for count in counts)
            np.testing.assert_array_equal(ticket.total, _vector(takers * 10**turn))


def test_who_never_asked_learns_the_size():
    def work(transport):
        queue = Reductions(transport)
        if transport.rank == 0:
            queue.ask(np.ones(5, np.float32), 5)
        queue.settle()

    run_threads(local_transports(3), work, lambda: None)
