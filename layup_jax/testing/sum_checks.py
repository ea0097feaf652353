"""Checks of what all workers of a transport do together: barriers, reductions in place, and sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from layup_jax.testing.endpoints import (
    EMPTY,
    LARGE,
    next_message,
    others_of,
    partner_of,
    require_array,
    require_value,
    swapped,
    wait_for_sends,
    wait_until,
)
from layup_jax.transport.base import Kind, Pending, Transport
from layup_jax.types import Array


def holds_a_barrier_until_the_last_worker(transport: Transport) -> None:
    """Messages pass while others are in the barrier: that is how workers stop."""
    last, size = transport.size - 1, transport.size
    if transport.rank == last:
        for _ in range(size - 1):
            kind = next_message(transport).kind
            assert kind == Kind.FINISHED, f"expected a message of kind FINISHED, got {kind!r}"
        barrier = transport.barrier()
    else:
        barrier = transport.barrier()
        early = any(barrier.done() for _ in range(100))
        assert not early, "a barrier must not complete before the last worker is there"
        sent = transport.send(last, Kind.FINISHED, 0, EMPTY)
        wait_until(sent.done, "the last worker to take a message")
    wait_until(barrier.done, "the barrier")
    assert barrier.done(), "once done, always done"


def counts_barriers_apart(transport: Transport) -> None:
    """One after the other."""
    for _ in range(3):
        wait_until(transport.barrier().done, "a barrier")


def _given(transport: Transport, turn: int, length: int) -> np.ndarray:
    return np.arange(length, dtype=np.float32) * (transport.rank + 1) + turn


def _summed(transport: Transport, turn: int, length: int) -> np.ndarray:
    size = transport.size
    return np.arange(length) * (size * (size + 1) / 2) + turn * size


def reduces_in_place(transport: Transport) -> None:
    """Several reductions under way at once, of different lengths, finished in any order."""
    lengths = (1, 1000, 7)
    vectors = [_given(transport, turn, length) for turn, length in enumerate(lengths)]
    pending = [transport.all_reduce(vector) for vector in vectors]
    for each in reversed(pending):
        wait_until(each.done, "a reduction")
    for turn, vector in enumerate(vectors):
        expected = _summed(transport, turn, lengths[turn])
        np.testing.assert_allclose(vector, expected, rtol=1e-6, err_msg="all_reduce must add up")


def reduces_only_what_all_have_given(transport: Transport) -> None:
    """A reduction is not done before the last worker has started it."""
    vector = np.ones(3, np.float32)
    _start_last(transport, lambda: transport.all_reduce(vector))
    require_array(vector, np.full(3, transport.size), "all_reduce must add up")


def _start_last(transport: Transport, start: Callable[[], Pending]) -> None:
    """Worker 0 starts once all others have; waits for what is started."""
    if transport.rank == 0:
        for _ in range(transport.size - 1):
            next_message(transport)
        pending = start()
    else:
        pending = start()
        early = any(pending.done() for _ in range(100))
        assert not early, "a sum must not be done before all have started it"
        sent = transport.send(0, Kind.FINISHED, 0, EMPTY)
        wait_until(sent.done, "worker 0 to take a message")
    wait_until(pending.done, "a sum")
    assert pending.done(), "once done, always done"


def keeps_reductions_and_barriers_apart(transport: Transport) -> None:
    """At the end of a run some workers are in a barrier while others still add up."""
    vector = np.ones(2, np.float32)
    if transport.rank % 2:
        barrier, pending = transport.barrier(), transport.all_reduce(vector)
    else:
        pending, barrier = transport.all_reduce(vector), transport.barrier()
    wait_until(lambda: barrier.done() and pending.done(), "a barrier and a reduction")
    require_array(vector, np.full(2, transport.size), "all_reduce must add up")


def sums_vectors(transport: Transport) -> None:
    """Several sums under way at once, of different lengths, of arrays of jax and of numpy."""
    lengths = (1, 1000, 7, 0, LARGE // 4)
    vectors: list[Array | np.ndarray] = []
    for turn, length in enumerate(lengths):
        vector = _given(transport, turn, length)
        vectors.append(vector if (turn + transport.rank) % 2 else jnp.asarray(vector))
        transport.prepare_sum(jnp.asarray(vector))
    under_way = [transport.sum(vector) for vector in vectors]
    for turn, each in enumerate(under_way):
        wait_until(each.done, "a sum")
        expected = _summed(transport, turn, lengths[turn])
        total = np.asarray(each.total)
        require_value(total.dtype, np.dtype(np.float32), "a sum must keep the dtype")
        np.testing.assert_allclose(total, expected, rtol=1e-6, err_msg="sum must add up")
        mine = _given(transport, turn, lengths[turn])
        require_array(vectors[turn], mine, "sum must leave the vector that it was given")


def sums_without_preparation(transport: Transport) -> None:
    """Preparing only saves time."""
    summing = transport.sum(jnp.ones(11, jnp.float32))
    wait_until(summing.done, "a sum")
    require_array(summing.total, np.full(11, transport.size), "sum must add up")


def sums_only_what_all_have_given(transport: Transport) -> None:
    """A sum is not done before the last worker has started it."""
    vector = jnp.ones(3, jnp.float32)
    transport.prepare_sum(vector)
    _start_last(transport, lambda: transport.sum(vector))


def never_writes_to_a_sum_again(transport: Transport) -> None:
    """Later sums leave what earlier ones gave."""
    kept = []
    for turn in range(5):
        summing = transport.sum(jnp.full((256,), float(turn), jnp.float32))
        wait_until(summing.done, "a sum")
        kept.append(summing.total)
    for turn, total in enumerate(kept):
        expected = np.full(256, turn * transport.size)
        require_array(total, expected, "a sum must not be written to again")


def sums_beside_everything_else(transport: Transport) -> None:
    """Swaps, messages, reductions and barriers pass while a sum is under way, in any order."""
    vector, partner = np.ones(2, np.float32), partner_of(transport)
    starts: list[Callable[[], Any]] = [
        lambda: transport.sum(jnp.full((5,), 2.0, jnp.float32)),
        lambda: transport.all_reduce(vector),
        transport.barrier,
    ]
    order = [(transport.rank + turn) % 3 for turn in range(3)]
    under_way = {index: starts[index]() for index in order}
    sends = [transport.send(peer, Kind.GATHER, 1, EMPTY) for peer in others_of(transport)]
    if partner is not None:
        theirs = swapped(transport, partner, 0, jnp.full((6,), transport.rank, jnp.float32))
        require_array(theirs, [partner] * 6, "a swap must not take part of a sum")
    for _ in sends:
        next_message(transport)
    for each in under_way.values():
        wait_until(each.done, "a sum, a reduction and a barrier")
    wait_for_sends(sends)
    require_array(under_way[0].total, np.full(5, 2 * transport.size), "sum must add up")
    require_array(vector, np.full(2, transport.size), "all_reduce must add up")


CHECKS = (
    holds_a_barrier_until_the_last_worker,
    counts_barriers_apart,
    reduces_in_place,
    reduces_only_what_all_have_given,
    keeps_reductions_and_barriers_apart,
    sums_vectors,
    sums_without_preparation,
    sums_only_what_all_have_given,
    never_writes_to_a_sum_again,
    sums_beside_everything_else,
)
