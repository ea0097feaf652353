"""The conformance suite of transports: functions that every worker calls with its own endpoint.

    for check in CHECKS:
        check(transport)          # collective: on all workers, in the same order
        transport.gather(None)    # all have passed, so none can disturb the next check any more

In one process a thread for each worker calls them, under MPI every rank does. Try 1, 2, 3 and 4 workers.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from layup_jax.testing import sum_checks
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
from layup_jax.transport.base import Kind, Transport


def _body(sender: int, number: int, size: int) -> np.ndarray:
    return np.random.default_rng([sender, number]).integers(0, 256, size, np.uint8)


def knows_its_place(transport: Transport) -> None:
    """Ranks count from 0 to the size, and the data plane has a name."""
    ranks = transport.gather(transport.rank)
    require_value(ranks, list(range(transport.size)), "ranks must be in order")
    assert isinstance(transport.data_plane, str), "data_plane must be a string"


def gathers_every_value_by_rank(transport: Transport) -> None:
    """Values of different sizes, one after the other."""

    def value(rank: int) -> dict[str, Any]:
        return {"rank": rank, "text": "x" * 1000 * rank, "array": np.arange(rank)}

    for rank, gathered in enumerate(transport.gather(value(transport.rank))):
        place = (gathered["rank"], gathered["text"])
        assert place == (rank, "x" * 1000 * rank), f"gather must have rank {rank} in its place"
        require_array(gathered["array"], np.arange(rank), "arrays must be gathered whole")
    nothing = transport.gather(None)
    require_value(nothing, [None] * transport.size, "a second gather must be apart from the first")


def polls_nothing_where_nothing_was_sent(transport: Transport) -> None:
    """And does not block."""
    assert transport.poll() is None, "poll must give None where nothing was sent"


def delivers_everything_in_order(transport: Transport) -> None:
    """Small, empty and large messages from everybody to everybody."""
    sizes = [0, 1, 7, 1000, LARGE, 3, 0, 64]
    pending = [
        transport.send(peer, Kind.PUSH, number, _body(transport.rank, number, size))
        for number, size in enumerate(sizes)
        for peer in others_of(transport)
    ]
    arrived = {peer: 0 for peer in others_of(transport)}
    for _ in range(len(sizes) * len(arrived)):
        source, kind, segment, body = next_message(transport)
        expected = (Kind.PUSH, arrived[source])
        require_value((kind, segment), expected, f"messages of worker {source} must be in order")
        assert body.dtype == np.uint8, f"bodies must be bytes, got {body.dtype}"
        require_array(body, _body(source, segment, sizes[segment]), "a body must arrive whole")
        arrived[source] += 1
    wait_for_sends(pending)
    transport.gather(None)
    assert transport.poll() is None, "a message must arrive once"


def tells_kinds_and_segments_apart(transport: Transport) -> None:
    """Order holds across kinds and segments too; an MPI that matched by tag would not keep it."""
    line = [(kind, segment) for segment in (0, 1, 900) for kind in reversed(Kind)]
    pending = [
        transport.send(peer, kind, segment, EMPTY)
        for peer in others_of(transport)
        for kind, segment in line
    ]
    arrived = {peer: [] for peer in others_of(transport)}
    for _ in range(len(line) * len(arrived)):
        message = next_message(transport)
        assert isinstance(message.kind, Kind), f"kind must be a Kind, got {message.kind!r}"
        arrived[message.source].append((message.kind, message.segment))
    for source, each in arrived.items():
        require_value(each, line, f"messages of worker {source} must be in order")
    wait_for_sends(pending)


def completes_a_send_only_when_it_was_taken(transport: Transport) -> None:
    """A small message is not done because a buffer has swallowed it."""
    for size in (0, 8, LARGE):
        sends = [
            transport.send(peer, Kind.PUSH, 0, np.full(size, transport.rank, np.uint8))
            for peer in others_of(transport)
        ]
        early = f"a send of {size} bytes must not be done before it was taken"
        assert not any(each.done() for each in sends), early
        transport.gather("all have sent and none has polled")
        assert not any(each.done() for each in sends), early
        transport.gather("all have looked")
        for _ in sends:
            next_message(transport)
        wait_for_sends(sends)
        assert all(each.done() for each in sends), "once done, always done"
        transport.gather("all are done")


def gives_a_body_to_its_receiver(transport: Transport) -> None:
    """What arrived is the receiver's own: neither sender nor later messages change it."""
    bodies = [np.full(16, number, np.uint8) for number in range(3)]
    pending = [
        transport.send(peer, Kind.PUSH, 0, body) for body in bodies for peer in others_of(transport)
    ]
    arrived = [next_message(transport) for _ in pending]
    wait_for_sends(pending)
    for body in bodies:
        body[:] = 99
    transport.gather("all have overwritten what they sent")
    numbers = sorted(int(message.body[0]) for message in arrived)
    expected = sorted(list(range(3)) * len(others_of(transport)))
    require_value(numbers, expected, "what arrived must not change when its sender writes to it")
    for message in arrived:
        assert len(set(message.body.tolist())) == 1, "a body must not be mixed with others"
        message.body[:] = 7


def swaps_vectors(transport: Transport) -> None:
    """Of different sizes, each several times; one's own vector stays as it is."""
    partner = partner_of(transport)
    for size in (1, 5, 1000, LARGE // 4):
        mine = jnp.arange(size, dtype=jnp.float32) + 100 * transport.rank
        transport.prepare(mine)
        if partner is None:
            continue
        for segment in (0, 3, 1):
            theirs = swapped(transport, partner, segment, mine + segment)
            kind = (theirs.shape, theirs.dtype)
            require_value(kind, (mine.shape, mine.dtype), "a swap must keep shape and dtype")
            expected = np.arange(size, dtype=np.float32) + 100 * partner + segment
            require_array(theirs, expected, f"a swap must give what worker {partner} gave")
            require_array(mine[0], 100 * transport.rank, "one's own vector must stay as it is")


def swaps_words(transport: Transport) -> None:
    """Vectors of uint16, in which what MPI has no type for travels."""
    partner = partner_of(transport)
    mine = jnp.arange(65_000, 65_536, dtype=jnp.uint16) - transport.rank
    transport.prepare(mine)
    if partner is not None:
        theirs = swapped(transport, partner, 0, mine)
        require_value(theirs.dtype, mine.dtype, "a swap must keep the dtype")
        expected = np.arange(65_000, 65_536) - partner
        require_array(theirs, expected, f"a swap must give what worker {partner} gave")


def swaps_empty_vectors(transport: Transport) -> None:
    """Layers without parameters have segments too."""
    partner = partner_of(transport)
    mine = jnp.zeros(0, jnp.float32)
    transport.prepare(mine)
    if partner is not None:
        require_value(
            swapped(transport, partner, 0, mine).shape, (0,), "nothing swapped is nothing"
        )


def swaps_without_preparation(transport: Transport) -> None:
    """Preparing only saves time."""
    partner = partner_of(transport)
    if partner is not None:
        mine = jnp.full((3,), transport.rank, jnp.float32)
        theirs = swapped(transport, partner, 0, mine)
        require_array(theirs, [partner] * 3, f"a swap must give what worker {partner} gave")


def swaps_with_everybody_in_turn(transport: Transport) -> None:
    """Rounds of a tournament: in each, everybody meets one other worker or rests."""
    size = transport.size + transport.size % 2
    for turn in range(size - 1):
        partner = _opponent(transport.rank, turn, size)
        if partner < transport.size:
            mine = jnp.full((4,), 10 * transport.rank + turn, jnp.float32)
            theirs = swapped(transport, partner, turn, mine)
            what = f"a swap must give what worker {partner} gave in round {turn}"
            require_array(theirs, [10 * partner + turn] * 4, what)


def _opponent(rank: int, turn: int, size: int) -> int:
    """Round robin by the circle method; `size` is even."""
    if rank == size - 1:
        return next(other for other in range(size - 1) if 2 * other % (size - 1) == turn)
    other = (turn - rank) % (size - 1)
    return size - 1 if other == rank else other


def swaps_with_several_at_once(transport: Transport) -> None:
    """Unless swaps block, they wait for nobody, and end in whatever order peers come."""
    if transport.swaps_block:
        return
    is_late = transport.rank % 2 == 1
    if is_late:
        transport.gather("the others have begun")
    mine = jnp.full((LARGE // 4,), transport.rank, jnp.float32)
    under_way = {peer: transport.swap(peer, 3, mine) for peer in others_of(transport)}
    if not is_late:
        late = [each for peer, each in under_way.items() if peer % 2 == 1]
        assert not any(each.done() for each in late), "a swap must not be done without the peer"
        transport.gather("the others have begun")
    for peer, swapping in reversed(under_way.items()):
        wait_until(swapping.done, f"worker {peer} to swap")
        assert swapping.done(), "once done, always done"
        what = f"a swap beside others must give what worker {peer} gave"
        require_array(swapping.received, np.full(LARGE // 4, peer), what)


def never_writes_to_a_swapped_vector_again(transport: Transport) -> None:
    """Later swaps leave what earlier ones gave."""
    partner = partner_of(transport)
    if partner is None:
        return
    kept = []
    for turn in range(5):
        mine = jnp.full((256,), 10.0 * transport.rank + turn, jnp.float32)
        kept.append(swapped(transport, partner, 0, mine))
        del mine
    for turn, vector in enumerate(kept):
        expected = np.full(256, 10 * partner + turn)
        require_array(vector, expected, "a swapped vector must not be written to again")


def swaps_while_messages_wait(transport: Transport) -> None:
    """A swap neither takes messages nor needs them taken."""
    partner = partner_of(transport)
    sends = [
        transport.send(peer, Kind.PUSH, 5, np.full(9, transport.rank, np.uint8))
        for peer in others_of(transport)
    ]
    transport.gather("all have sent")
    if partner is not None:
        mine = jnp.full((6,), transport.rank, jnp.float32)
        theirs = swapped(transport, partner, 5, mine)
        require_array(theirs, [partner] * 6, "a swap must not take a message for its vector")
    sources = sorted(next_message(transport).source for _ in sends)
    require_value(sources, others_of(transport), "a swap must take no message")
    wait_for_sends(sends)


CHECKS = (
    knows_its_place,
    gathers_every_value_by_rank,
    polls_nothing_where_nothing_was_sent,
    delivers_everything_in_order,
    tells_kinds_and_segments_apart,
    completes_a_send_only_when_it_was_taken,
    gives_a_body_to_its_receiver,
    swaps_vectors,
    swaps_words,
    swaps_empty_vectors,
    swaps_without_preparation,
    swaps_with_everybody_in_turn,
    swaps_with_several_at_once,
    never_writes_to_a_swapped_vector_again,
    swaps_while_messages_wait,
    *sum_checks.CHECKS,
)
