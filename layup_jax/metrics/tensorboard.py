"""The same records as TensorBoard events: `tensorboard --logdir runs/demo/tensorboard`.

    with TensorBoardWriter(folder.tensorboard(rank)) as writer:
        writer.write(StepRecord(...))          # train/loss, train/staleness_mean, ...
        writer.write(EvaluationRecord(...))    # evaluation/test_accuracy, ...

This module alone knows tensorboardX, and imports it on construction. It writes records itself:
tensorboardX's SummaryWriter starts threads and a queue between processes, and puts the host's name
into the name of the file.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from layup_jax.errors import ConfigError
from layup_jax.metrics.records import EvaluationRecord, Line, NoteRecord, StepRecord


class TensorBoardWriter:
    """One event file; the axis of its charts is the worker's step.

    Threads: one at a time. After close: `write` raises ValueError; `close` does nothing.
    """

    def __init__(self, folder: Path) -> None:
        """Makes `folder` and a new event file in it.

        Raises:
          ConfigError: tensorboardX is not installed.
        """
        try:
            from tensorboardX.proto import event_pb2, summary_pb2
            from tensorboardX.record_writer import RecordWriter
        except ImportError as error:
            raise ConfigError(
                "config.tensorboard=True needs the package tensorboardX, got none; "
                "pip install layup_jax[tensorboard]"
            ) from error
        folder.mkdir(parents=True, exist_ok=True)
        # protobuf makes these classes on import, where pyright cannot see them.
        self._event: Any = getattr(event_pb2, "Event")  # noqa: B009
        self._summary: Any = getattr(summary_pb2, "Summary")  # noqa: B009
        self._file = RecordWriter(str(folder / f"events.out.tfevents.{time.time_ns()}"))
        self._closed = False
        self._append(file_version="brain.Event:2")

    def write(self, line: Line) -> None:
        """Appends the numbers of one line, all in one event; evaluations flush to disk.

        Notes have no numbers and are left out.
        """
        if isinstance(line, NoteRecord):
            return
        values = [self._summary.Value(tag=tag, simple_value=value) for tag, value in _scalars(line)]
        self._append(step=line.step, summary=self._summary(value=values))
        if not isinstance(line, StepRecord):
            self._file.flush()

    def close(self) -> None:
        """Flushes and closes; may be called again."""
        if not self._closed:
            self._closed = True
            self._file.flush()
            self._file.close()

    def __enter__(self) -> Self:
        """The writer itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes."""
        self.close()

    def _append(self, **content) -> None:
        event = self._event(wall_time=time.time(), **content)
        self._file.write(event.SerializeToString())


def _scalars(line: StepRecord | EvaluationRecord) -> Iterator[tuple[str, float]]:
    """Tag and value of each number in a line; None is left out."""
    values = line._asdict()
    for key in ("rank", "step"):
        del values[key]
    if isinstance(line, StepRecord):
        staleness, waiting = values.pop("staleness"), values.pop("waiting_seconds")
        if staleness:
            values["staleness_mean"] = math.fsum(staleness) / len(staleness)
            values["staleness_max"] = max(staleness)
        values |= {f"waiting_seconds/{cause}": seconds for cause, seconds in waiting.items()}
    group = "train" if isinstance(line, StepRecord) else "evaluation"
    for key, value in values.items():
        if value is not None:
            yield f"{group}/{key}", value
