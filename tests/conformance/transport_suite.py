"""The contract of a transport, as functions that every worker calls with its own endpoint.

    for check in CHECKS:
        check(transport)          # collective: on all workers, in the same order

In one process `run_threads` calls them, under MPI `run_transport_suite.py` does.
"""

import os
import time

import jax.numpy as jnp
import numpy as np

from layup_jax.transport.base import Kind

_DEADLINE_SECONDS = 60
_EMPTY = np.empty(0, np.uint8)
_LARGE = 1 << 20  # beyond what any MPI sends before the receiver is there


def _wait_until(condition, what):
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {_DEADLINE_SECONDS} s for {what}"
        os.sched_yield()


def _next_message(transport):
    taken = []

    def poll():
        message = transport.poll()
        taken.extend([] if message is None else [message])
        return bool(taken)

    _wait_until(poll, f"a message to worker {transport.rank}")
    return taken[0]


def _others(transport):
    return [rank for rank in range(transport.size) if rank != transport.rank]


def _partner(transport):
    """Workers 0 and 1, 2 and 3, ... ; None for one that is left over."""
    partner = transport.rank ^ 1
    return partner if partner < transport.size else None


def _body(sender, number, size):
    return np.random.default_rng([sender, number]).integers(0, 256, size, np.uint8)


def gathers_every_value_by_rank(transport):
    def value(rank):
        return {"rank": rank, "text": "x" * 1000 * rank, "array": np.arange(rank)}

    for rank, gathered in enumerate(transport.gather(value(transport.rank))):
        assert (gathered["rank"], gathered["text"]) == (rank, "x" * 1000 * rank)
        np.testing.assert_array_equal(gathered["array"], np.arange(rank))
    assert transport.gather(None) == [None] * transport.size


def knows_its_place(transport):
    assert transport.gather(transport.rank) == list(range(transport.size))
    assert isinstance(transport.data_plane, str)


def polls_nothing_where_nothing_was_sent(transport):
    assert transport.poll() is None


def delivers_everything_in_order(transport):
    sizes = [0, 1, 7, 1000, _LARGE, 3, 0, 64]
    pending = [
        transport.send(peer, Kind.PUSH, number, _body(transport.rank, number, size))
        for number, size in enumerate(sizes)
        for peer in _others(transport)
    ]
    arrived = {peer: 0 for peer in _others(transport)}
    for _ in range(len(sizes) * len(arrived)):
        source, kind, segment, body = _next_message(transport)
        assert (kind, segment) == (Kind.PUSH, arrived[source])
        assert body.dtype == np.uint8
        np.testing.assert_array_equal(body, _body(source, segment, sizes[segment]))
        arrived[source] += 1
    _wait_until(lambda: all(each.done() for each in pending), "sends that were all taken")
    transport.gather(None)
    assert transport.poll() is None


def tells_kinds_and_segments_apart(transport):
    """Order holds across kinds and segments too; an MPI that matched by tag would not keep it."""
    line = [(kind, segment) for segment in (0, 1, 900) for kind in reversed(Kind)]
    pending = [
        transport.send(peer, kind, segment, _EMPTY)
        for peer in _others(transport)
        for kind, segment in line
    ]
    arrived = {peer: [] for peer in _others(transport)}
    for _ in range(len(line) * len(arrived)):
        message = _next_message(transport)
        assert isinstance(message.kind, Kind)
        arrived[message.source].append((message.kind, message.segment))
    assert all(each == line for each in arrived.values())
    _wait_until(lambda: all(each.done() for each in pending), "sends that were all taken")


def completes_a_send_only_when_it_was_taken(transport):
    """A small message is not done because a buffer has swallowed it."""
    for size in (0, 8, _LARGE):
        sends = [
            transport.send(peer, Kind.PUSH, 0, np.full(size, transport.rank, np.uint8))
            for peer in _others(transport)
        ]
        assert not any(each.done() for each in sends)
        transport.gather("all have sent and none has polled")
        assert not any(each.done() for each in sends)
        transport.gather("all have looked")
        for _ in sends:
            _next_message(transport)
        _wait_until(lambda sends=sends: all(each.done() for each in sends), "sends that were taken")
        assert all(each.done() for each in sends), "once done, always done"
        transport.gather("all are done")


def gives_a_body_to_its_receiver(transport):
    """What arrived is the receiver's own: neither sender nor later messages change it."""
    bodies = [np.full(16, number, np.uint8) for number in range(3)]
    pending = [
        transport.send(peer, Kind.PUSH, 0, body) for body in bodies for peer in _others(transport)
    ]
    arrived = [_next_message(transport) for _ in pending]
    _wait_until(lambda: all(each.done() for each in pending), "sends that were all taken")
    for body in bodies:
        body[:] = 99
    transport.gather("all have overwritten what they sent")
    numbers = sorted(int(message.body[0]) for message in arrived)
    assert numbers == sorted(list(range(3)) * len(_others(transport)))
    for message in arrived:
        assert len(set(message.body.tolist())) == 1
        message.body[:] = 7


def swaps_vectors(transport):
    partner = _partner(transport)
    for size in (1, 5, 1000, _LARGE // 4):
        mine = jnp.arange(size, dtype=jnp.float32) + 100 * transport.rank
        transport.prepare(mine)
        if partner is None:
            continue
        for segment in (0, 3, 1):
            theirs = transport.swap(partner, segment, mine + segment)
            assert (theirs.shape, theirs.dtype) == (mine.shape, mine.dtype)
            expected = np.arange(size, dtype=np.float32) + 100 * partner + segment
            np.testing.assert_array_equal(np.asarray(theirs), expected)
            np.testing.assert_array_equal(mine[0], 100 * transport.rank)


def swaps_empty_vectors(transport):
    """Layers without parameters have segments too."""
    partner = _partner(transport)
    mine = jnp.zeros(0, jnp.float32)
    transport.prepare(mine)
    if partner is not None:
        assert transport.swap(partner, 0, mine).shape == (0,)


def swaps_without_preparation(transport):
    partner = _partner(transport)
    if partner is not None:
        mine = jnp.full((3,), transport.rank, jnp.float32)
        np.testing.assert_array_equal(np.asarray(transport.swap(partner, 0, mine)), [partner] * 3)


def swaps_with_everybody_in_turn(transport):
    """Rounds of a tournament: in each, everybody meets one other worker or rests."""
    size = transport.size + transport.size % 2
    for turn in range(size - 1):
        partner = _opponent(transport.rank, turn, size)
        if partner < transport.size:
            mine = jnp.full((4,), 10 * transport.rank + turn, jnp.float32)
            theirs = transport.swap(partner, turn, mine)
            np.testing.assert_array_equal(np.asarray(theirs), [10 * partner + turn] * 4)


def _opponent(rank, turn, size):
    """Round robin by the circle method; `size` is even."""
    if rank == size - 1:
        return next(other for other in range(size - 1) if 2 * other % (size - 1) == turn)
    other = (turn - rank) % (size - 1)
    return size - 1 if other == rank else other


def never_writes_to_a_swapped_vector_again(transport):
    partner = _partner(transport)
    if partner is None:
        return
    kept = []
    for turn in range(5):
        mine = jnp.full((256,), 10.0 * transport.rank + turn, jnp.float32)
        kept.append(transport.swap(partner, 0, mine))
        del mine
    for turn, vector in enumerate(kept):
        np.testing.assert_array_equal(np.asarray(vector), np.full(256, 10 * partner + turn))


def swaps_while_messages_wait(transport):
    """A swap neither takes messages nor needs them taken."""
    partner = _partner(transport)
    sends = [
        transport.send(peer, Kind.PUSH, 5, np.full(9, transport.rank, np.uint8))
        for peer in _others(transport)
    ]
    transport.gather("all have sent")
    if partner is not None:
        mine = jnp.full((6,), transport.rank, jnp.float32)
        np.testing.assert_array_equal(np.asarray(transport.swap(partner, 5, mine)), [partner] * 6)
    sources = sorted(_next_message(transport).source for _ in sends)
    assert sources == _others(transport)
    _wait_until(lambda: all(each.done() for each in sends), "sends that were all taken")


def holds_a_barrier_until_the_last_worker(transport):
    """Messages pass while others are in the barrier: that is how workers stop."""
    last, size = transport.size - 1, transport.size
    if transport.rank == last:
        for _ in range(size - 1):
            assert _next_message(transport).kind == Kind.FINISHED
        barrier = transport.barrier()
    else:
        barrier = transport.barrier()
        assert not any(barrier.done() for _ in range(100))
        sent = transport.send(last, Kind.FINISHED, 0, _EMPTY)
        _wait_until(sent.done, "the last worker to take a message")
    _wait_until(barrier.done, "the barrier")
    assert barrier.done(), "once done, always done"


def counts_barriers_apart(transport):
    for _ in range(3):
        _wait_until(transport.barrier().done, "a barrier")


def sums_in_place(transport):
    """Several sums under way at once, of different lengths, finished in any order."""
    vectors = [
        np.arange(length, dtype=np.float32) * (transport.rank + 1) + turn
        for turn, length in enumerate((1, 1000, 7))
    ]
    pending = [transport.all_reduce(vector) for vector in vectors]
    for each in reversed(pending):
        _wait_until(each.done, "a sum")
    size = transport.size
    for turn, vector in enumerate(vectors):
        expected = np.arange(len(vector)) * (size * (size + 1) / 2) + turn * size
        np.testing.assert_allclose(vector, expected, rtol=1e-6)


def sums_only_what_all_have_given(transport):
    if transport.rank == 0:
        for _ in range(transport.size - 1):
            _next_message(transport)
        pending = transport.all_reduce(vector := np.ones(3, np.float32))
    else:
        pending = transport.all_reduce(vector := np.ones(3, np.float32))
        assert not any(pending.done() for _ in range(100))
        sent = transport.send(0, Kind.FINISHED, 0, _EMPTY)
        _wait_until(sent.done, "worker 0 to take a message")
    _wait_until(pending.done, "the sum")
    np.testing.assert_array_equal(vector, np.full(3, transport.size))


def keeps_sums_and_barriers_apart(transport):
    """At the end of a run some workers are in a barrier while others still add up."""
    vector = np.ones(2, np.float32)
    if transport.rank % 2:
        barrier, pending = transport.barrier(), transport.all_reduce(vector)
    else:
        pending, barrier = transport.all_reduce(vector), transport.barrier()
    _wait_until(lambda: barrier.done() and pending.done(), "a barrier and a sum")
    np.testing.assert_array_equal(vector, np.full(2, transport.size))


CHECKS = (
    knows_its_place,
    gathers_every_value_by_rank,
    polls_nothing_where_nothing_was_sent,
    delivers_everything_in_order,
    tells_kinds_and_segments_apart,
    completes_a_send_only_when_it_was_taken,
    gives_a_body_to_its_receiver,
    swaps_vectors,
    swaps_empty_vectors,
    swaps_without_preparation,
    swaps_with_everybody_in_turn,
    never_writes_to_a_swapped_vector_again,
    swaps_while_messages_wait,
    holds_a_barrier_until_the_last_worker,
    counts_barriers_apart,
    sums_in_place,
    sums_only_what_all_have_given,
    keeps_sums_and_barriers_apart,
)
