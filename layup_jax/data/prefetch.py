"""Batches that are on the device before their step asks for them.

Nouns: `Prefetch`.

    batches = Prefetch(loader, ahead=2)
    batch = next(batches)          # jax arrays; the next two are on their way

No thread: on an accelerator a copy is only begun by the host, and goes on while the step computes.
What takes long to make (decoding, augmentation) grain's threads make ahead, below the loader.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import jax

from layup_jax.host import jax_platform
from layup_jax.types import PyTree

_AHEAD = 2  # one that is copied, one that waits


def prefetched(loader: Iterator[PyTree], ahead: int | None) -> Iterator[PyTree]:
    """The same batches, on the device if that is another memory than the host's.

    Args:
      loader: endless batches, whose arrays are not written to again.
      ahead: how many are placed ahead, at least 0; 0 leaves them where they are. None: 2, but 0 on CPUs,
        where batches are in the device's memory as they come.
    """
    if ahead is None:
        ahead = 0 if jax_platform() == "cpu" else _AHEAD
    return Prefetch(loader, ahead) if ahead else loader


class Prefetch(Iterator[PyTree]):
    """The batches of an iterator in their order, each placed on the default device some batches early.

    An error of the iterator, its end included, is raised when its batch is asked for, not before.

    Threads: one at a time may call.
    Blocks: `next` while the iterator makes a batch; not for the copy to an accelerator.
    """

    def __init__(self, loader: Iterator[PyTree], ahead: int):
        """Takes what yields batches of arrays, and how many to place ahead; nothing is read yet."""
        self._loader = loader
        self._ahead = ahead
        self._placed: deque[PyTree] = deque()
        self._end: BaseException | None = None

    def __next__(self) -> PyTree:
        """The next batch, its arrays on the device."""
        while self._end is None and len(self._placed) <= self._ahead:
            self._place()
        if self._placed:
            return self._placed.popleft()
        assert self._end is not None
        raise self._end

    def _place(self) -> None:
        try:
            self._placed.append(jax.device_put(next(self._loader)))
        except Exception as error:
            self._end = error
