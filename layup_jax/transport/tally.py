"""How many samples all workers together have trained on, as far as this one knows.

tally.add(32)                    # the compute thread, after each step
tally.total() >= target          # before the next

A worker tells the others when what they do not know of it exceeds a quarter of its share of what is
left to do: seldom at first, after every step at the end. So all stop within about a step of the target.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from layup_jax.transport.base import Kind, Message, Pending, Transport

_PART = 4  # of a worker's share of what is left


class Tally:
    """Samples by rank.

    Threads: the compute thread adds and reads; the communication thread sends and takes. Blocks: never.
    """

    def __init__(
        self,
        transport: Transport,
        target: int | None,
        wake: Callable[[], None] = lambda: None,
    ):
        """Takes the number of samples at which all stop; None never tells anybody.

        Args:
          transport: of this worker.
          target: of all workers together.
          wake: called by `add` when it is time to tell the others.
        """
        self._transport = transport
        self._target = target
        self._wake = wake
        self._samples = [0] * transport.size
        self._told = 0

    def add(self, samples: int) -> None:
        """Counts what this worker has trained on."""
        self._samples[self._transport.rank] += samples
        if self._is_time():
            self._wake()

    def total(self) -> int:
        """Of all workers."""
        return sum(self._samples)

    def is_reached(self) -> bool:
        """Whether it is time to stop."""
        return self._target is not None and self.total() >= self._target

    def advance(self) -> list[Pending]:
        """Tells all others if it is time; what is then under way."""
        return self.tell() if self._is_time() else []

    def tell(self) -> list[Pending]:
        """Tells all others what they do not know yet; what is then under way."""
        mine = self._samples[self._transport.rank]
        if self._target is None or mine == self._told:
            return []
        self._told = mine
        body = np.array([mine], np.int64)
        others = [rank for rank in range(self._transport.size) if rank != self._transport.rank]
        return [self._transport.send(peer, Kind.SAMPLES, 0, body) for peer in others]

    def _is_time(self) -> bool:
        if self._target is None:
            return False
        untold = self._samples[self._transport.rank] - self._told
        return untold * _PART * self._transport.size >= self._target - self.total()

    def take(self, message: Message) -> None:
        """Takes what another worker tells."""
        self._samples[message.source] = int(message.body.view(np.int64)[0])
