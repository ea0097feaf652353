"""What one worker of a rival is told, on its command line.

task = Task("torch_ddp", rank=1, workers=4, port=40123, seconds=8.0, delay_seconds=0.05)
Task.from_arguments(task.arguments()) == task
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Task(NamedTuple):
    """One worker's part of a run.

    Attributes:
      method: name in `RIVALS`.
      rank: of this worker, in [0, workers).
      workers: processes of this run, all on this machine.
      port: on 127.0.0.1, where rank 0 is to be met.
      seconds: of training.
      delay_seconds: that this worker sleeps before every step.
    """

    method: str
    rank: int
    workers: int
    port: int
    seconds: float
    delay_seconds: float

    def arguments(self) -> list[str]:
        """As on a command line; the inverse of `from_arguments`."""
        return [str(value) for value in self]

    @classmethod
    def from_arguments(cls, arguments: Sequence[str]) -> Task:
        """Reads a command line; the inverse of `arguments`."""
        method, rank, workers, port, seconds, delay_seconds = arguments
        return cls(method, int(rank), int(workers), int(port), float(seconds), float(delay_seconds))
