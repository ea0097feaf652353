"""The threads of one pipeline: named, stopped together, and the first failure of any is everybody's.

crew = Crew(rank, on_failure=queue.close)
crew.start("forward", 0, loop)              # layup-forward-<rank>-0
crew.join()
crew.raise_failure()
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from layup_jax.errors import LayupError, PeerFailedError, PipelineError
from layup_jax.pipeline.queue import QueueClosed


class Crew:
    """Threads that live and fail together.

    Threads: one starts and joins; the members call `at_step`. Blocks: `join`, until all have ended.
    """

    def __init__(self, rank: int, on_failure: Callable[[], None]):
        """Takes the worker's rank, and what makes the members stop waiting."""
        self._rank = rank
        self._on_failure = on_failure
        self._threads: dict[tuple[str, int], threading.Thread] = {}
        self._steps: dict[int, int] = {}
        self._failures: list[BaseException] = []

    def start(self, role: str, index: int, loop: Callable[[int], None]) -> None:
        """Starts a member, unless it is at work already.

        Args:
          role: forward, backward or compute.
          index: among its like.
          loop: called with the index; returns, or raises QueueClosed, when there is no more to do.
        """
        running = self._threads.get((role, index))
        if running is not None and running.is_alive():
            return
        thread = threading.Thread(
            target=self._member,
            args=(loop, index),
            name=f"layup-{role}-{self._rank}-{index}",
            daemon=True,
        )
        self._threads[role, index] = thread
        thread.start()

    def at_step(self, step: int) -> None:
        """Says what the calling member is at, for the message of its failure."""
        self._steps[threading.get_ident()] = step

    def join(self) -> None:
        """Waits until all members have ended; what they wait for must be closed before."""
        for thread in self._threads.values():
            thread.join()

    def identities(self) -> set[int]:
        """Of all threads that have been members."""
        return {each.ident for each in self._threads.values() if each.ident is not None}

    def raise_failure(self) -> None:
        """Raises the first failure, if there was one."""
        if self._failures:
            raise self._failures[0]

    def _member(self, loop: Callable[[int], None], index: int) -> None:
        try:
            loop(index)
        except QueueClosed:
            pass
        except BaseException as error:
            step = self._steps.get(threading.get_ident(), -1)
            self._failures.append(self._located(error, step))
            self._on_failure()

    def _located(self, error: BaseException, step: int) -> BaseException:
        """The error with the thread, the rank and the step where it happened."""
        if isinstance(error, PeerFailedError):
            return error
        where = f"thread {threading.current_thread().name} of worker {self._rank}"
        where += f" at step {step}" if step >= 0 else ""
        if isinstance(error, LayupError):
            located = type(error)(f"{error} ({where})")
        else:
            located = PipelineError(f"{where} failed: {type(error).__name__}: {error}")
        located.__cause__ = error
        return located
