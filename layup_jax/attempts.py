"""What a worker tries between two meetings of all workers, and what went wrong.

    attempts = Attempts(transport)
    first = attempts.run(lambda: next(loader))
    if attempts.all_well(): ...                      # asked of all workers

An error is kept instead of raised, for every worker must reach the next meeting.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from layup_jax.errors import PeerFailedError, TransportError
from layup_jax.transport.base import Transport

T = TypeVar("T")


class Attempts:
    """What one worker tries, and the error that ended it. Threads: one.

    Attributes:
      error: of the attempt that failed; None if none did.
    """

    def __init__(self, transport: Transport):
        """Takes what leads to the other workers."""
        self.error: BaseException | None = None
        self._transport = transport

    def run(self, function: Callable[[], T]) -> T | None:
        """What the function returns; None where it fails."""
        try:
            return function()
        except BaseException as error:
            self.error = error
            return None

    def all_well(self) -> bool:
        """Whether no worker failed, asked of all of them; a dead one cannot be asked.

        Where several failed by themselves, as they do once a number that is not finite has spread, the
        first of them alone keeps its error, so that a run fails with one sentence.
        """
        if self.cut_off:
            return False
        error = self.error
        mine = None if error is None else not isinstance(error, PeerFailedError)
        is_own = self._transport.gather(mine)  # None of a worker that is well
        failed = [rank for rank, each in enumerate(is_own) if each is not None]
        first = next(iter([rank for rank in failed if is_own[rank]] or failed), None)
        if first not in (None, self._transport.rank):
            self.error = PeerFailedError(f"worker {first} failed first")
        return not failed

    @property
    def cut_off(self) -> TransportError | None:
        """Why the other workers cannot be reached any more; None if they can."""
        return self.error if isinstance(self.error, TransportError) else None

    @property
    def failure(self) -> str | None:
        """What went wrong here, in words; a worker that stopped because of another has nothing to add."""
        if self.error is None or isinstance(self.error, PeerFailedError):
            return None
        return str(self.error) or repr(self.error)
