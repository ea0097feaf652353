"""The contract of a transport: what moves bytes between workers, and nothing else.

Nouns: `Message` (what arrived), `Pending` (what is under way), `Transport`. The protocol that gossip
needs (proposals, pushes, stopping) is written once, in `handshake.py` and `communicator.py`, on top of
this.
"""

from __future__ import annotations

import enum
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from layup_jax.types import Array


class Kind(enum.IntEnum):
    """What a message is about."""

    PROPOSE = 1  # body: the segments, int64
    ACCEPT = 2  # body: empty
    BUSY = 3  # body: empty
    FINISHED = 4  # body: sums started, int64; the sender's last training step lies behind it
    FAILED = 5  # body: sums started, int64; the sender stops because of an error
    PUSH = 6  # body: one segment's vector
    GATHER = 7  # body: one segment's vector
    JOIN = 8  # body: number of a sum to take part in, int64
    SAMPLES = 9  # body: that the sender has trained on, int64


class Message(NamedTuple):
    """What arrived.

    Attributes:
      source: rank of the sender.
      kind: what it is about.
      segment: of PUSH, GATHER and JOIN; 0 otherwise.
      body: (n,) uint8, owned by the receiver.
    """

    source: int
    kind: Kind
    segment: int
    body: np.ndarray


T = TypeVar("T", bound=NamedTuple)


def increased(counts: T, **more: float) -> T:
    """A record of counts with some of them increased."""
    before = counts._asdict()
    return counts._replace(**{name: before[name] + value for name, value in more.items()})


class Pending(Protocol):
    """Something under way."""

    def done(self) -> bool:
        """Whether it is complete; never blocks. Once True, always True."""
        ...


class Swapping(Pending, Protocol):
    """A vector that is given for another.

    Attributes:
      received: the peer's vector, once done; never written to again.
    """

    received: Any


class Summing(Pending, Protocol):
    """A sum under way. `done` is asked of the oldest only, and may block for the transfer itself.

    Attributes:
      total: the sum over workers, once done; never written to again.
    """

    total: Any


class Transport(Protocol):
    """One worker's connection to all others.

    Threads: the communication thread calls everything below, except that `gather` is called before
      it starts or after it has ended. After close: nothing may be called.

    Attributes:
      rank: of this worker, from 0.
      size: number of workers.
      data_plane: name of what moves the vectors of an exchange.
      swaps_block: whether a swap, once it starts, blocks until it is done; there is then one at a time.
    """

    rank: int
    size: int
    data_plane: str
    swaps_block: bool

    def send(self, peer: int, kind: Kind, segment: int, body: np.ndarray) -> Pending:
        """Starts sending; complete when the peer has TAKEN the message, not before.

        `body` must not change before that. Messages from one worker to another arrive in order.
        """
        ...

    def poll(self) -> Message | None:
        """Takes the next message; None if there is none. Never blocks."""
        ...

    def prepare(self, vector: Array) -> None:
        """Compiles ahead what swapping vectors of this shape needs; no communication."""
        ...

    def swap(self, peer: int, segment: int, vector: Array) -> Swapping:
        """Starts to give a vector and to take the peer's, of the same shape and dtype.

        The peer must call it too, which a handshake has made sure of. Of two workers, one swap is under
        way at a time.

        Blocks: if `swaps_block`, until the peer has called it.
        """
        ...

    def prepare_sum(self, vector: Array) -> None:
        """Compiles ahead what `sum` of vectors of this shape needs; no communication."""
        ...

    def sum(self, vector: Array | np.ndarray) -> Summing:
        """Starts summing vectors over all workers by the data plane; all must do so in one order."""
        ...

    def barrier(self) -> Pending:
        """Starts a barrier; complete when all have started it and nothing is still coming in here."""
        ...

    def all_reduce(self, vector: np.ndarray) -> Pending:
        """Starts summing a vector over all workers, in place, beside `sum`; in one order of its own."""
        ...

    def gather(self, value: Any) -> list[Any]:
        """Every worker's picklable value, by rank. Blocks: until all workers call it."""
        ...

    def close(self) -> None:
        """Releases what it holds; idempotent. Everything sent must have completed."""
        ...
