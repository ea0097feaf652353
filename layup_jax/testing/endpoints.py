"""What checks of transports share: waiting for others, pairing up, and comparing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from layup_jax.transport.base import Message, Pending, Transport
from layup_jax.types import Array

_DEADLINE_SECONDS = 60.0
_LONGEST_SLEEP_SECONDS = 0.002
EMPTY = np.empty(0, np.uint8)
LARGE = 1 << 20  # beyond what any MPI sends before the receiver is there


def wait_until(
    condition: Callable[[], bool], what: str, seconds: float = _DEADLINE_SECONDS
) -> None:
    """Asks again and again, ever less often, until it holds.

    Raises:
      AssertionError: it did not within `seconds`.
    """
    deadline = time.monotonic() + seconds
    sleep = 0.0  # which lets others run
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(sleep)
        sleep = min(sleep + 1e-5, _LONGEST_SLEEP_SECONDS)


def wait_for_sends(sends: Sequence[Pending]) -> None:
    """Returns once all were taken."""
    wait_until(lambda: all(each.done() for each in sends), "sends that were all taken")


def next_message(transport: Transport) -> Message:
    """Polls until a message is there."""
    taken: list[Message] = []

    def poll() -> bool:
        message = transport.poll()
        taken.extend([] if message is None else [message])
        return bool(taken)

    wait_until(poll, f"a message to worker {transport.rank}")
    return taken[0]


def swapped(transport: Transport, peer: int, segment: int, vector: Array) -> Any:
    """The vector that the peer gives for this one."""
    swapping = transport.swap(peer, segment, vector)
    wait_until(swapping.done, f"worker {peer} to swap segment {segment}")
    return swapping.received


def others_of(transport: Transport) -> list[int]:
    """Ranks of all other workers."""
    return [rank for rank in range(transport.size) if rank != transport.rank]


def partner_of(transport: Transport) -> int | None:
    """Workers 0 and 1, 2 and 3, ... ; None for one that is left over."""
    partner = transport.rank ^ 1
    return partner if partner < transport.size else None


def require_array(found: Any, expected: Any, what: str) -> None:
    """The values of arrays of whatever kind.

    Raises:
      AssertionError: they differ.
    """
    np.testing.assert_array_equal(np.asarray(found), expected, what)


def require_value(found: object, expected: object, what: str) -> None:
    """Equality of plain values.

    Raises:
      AssertionError: they differ.
    """
    assert found == expected, f"{what}: expected {expected}, got {found}"
