"""What schedules with threads of their own share: works go in on one queue, results come out on another.

The thread that calls `run` hands out works and takes results; a crew does everything in between.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

from layup_jax.pipeline.base import Parts, StepResult, Work
from layup_jax.pipeline.crew import Crew
from layup_jax.pipeline.queue import BoundedQueue, QueueClosed


class Threaded(ABC):
    """Base of schedules whose passes run on threads of their own; see `Pipeline`.

    The crew starts at the first `run`, waits between runs, and ends with `close` or its first failure.
    """

    def __init__(self, parts: Parts, waiting: int):
        """Takes what is worked on, and how many works may wait to be begun."""
        self._parts = parts
        self._works: BoundedQueue[Work] = BoundedQueue(waiting)
        # Never full: a result comes of a work, and no more works are let in than can be under way.
        self._results: BoundedQueue[StepResult] = BoundedQueue(1 << 30)
        self._crew = Crew(parts.rank, self._close_queues)
        self._under_way = 0

    def run(self, works: Iterable[Work]) -> Iterator[StepResult]:
        """See `Pipeline`."""
        self._start()
        try:
            for work in works:
                self._works.put(work)
                self._under_way += 1
                while len(self._results):
                    yield self._next_result()
            while self._under_way:
                yield self._next_result()
        except QueueClosed:  # by a member that has failed; the others end with `close`
            self._crew.raise_failure()
            raise

    def close(self) -> None:
        """See `Pipeline`."""
        self._close_queues()
        self._crew.join()

    def _next_result(self) -> StepResult:
        result = self._results.take()
        self._under_way -= 1
        return result

    @abstractmethod
    def _start(self) -> None:
        """Starts the members of the crew that are not at work."""

    def _close_queues(self) -> None:
        self._works.close()
        self._results.close()
