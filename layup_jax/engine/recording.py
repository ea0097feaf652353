"""Who read which version and who wrote when: enough to run a worker again to the last bit.

    recording = Recording()                             # given to pipeline, port and merger
    save(path, Recorded(recording, digest(store.snapshot()), partition, place))
    recorded = load(path)                               # for `replay`

Events stand in the order in which they took effect: a write is added under its slot's lock, before
anybody can read what it wrote, and a read after it was done, with the version that was read.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from layup_jax.errors import RunFolderError, reason
from layup_jax.types import Array, SegmentState

KINDS = (
    "forward",  # read for a forward pass whose VJP is stored
    "advance",  # read for a forward pass that keeps only inputs and outputs
    "linearise",  # read for a VJP at live parameters
    "turn",  # forward, VJP and update of the last segment at once
    "backward",  # VJP and update at once
    "backward_at",  # the same at live parameters
    "apply",  # update with a gradient
    "outgoing",  # a message was made, which may change the state
    "incoming",  # a message was merged
    "gathered",  # what a neighbour gave in a collective was merged
    "contribution",  # part in an average was made
    "average",  # an average was merged
    "background",  # an average of the communication threads was merged
)
READS = ("forward", "advance", "linearise")
_COLUMNS = ("segment", "step", "version", "thread", "message")


class Event(NamedTuple):
    """A read or a write of one segment.

    Attributes:
      kind: one of KINDS.
      segment: read or written.
      step: of the worker; -1 for what belongs to no step.
      version: that was read; -1 for a write, whose place in the order says it.
      now: the time that the update was given, in seconds.
      thread: whose own optimizer state was used; -1 for the slot's.
      message: index of the vectors that were merged; -1 without.
    """

    kind: str
    segment: int
    step: int = -1
    version: int = -1
    now: float = 0.0
    thread: int = -1
    message: int = -1


class Message(NamedTuple):
    """What was merged: the vector this worker had given for it, if it counts, and what came."""

    sent: Array | np.ndarray | None
    received: Array | np.ndarray


class Recording:
    """The events of one worker, with all messages it merged; grows with the run.

    Threads: any may add.
    """

    def __init__(self, events: Sequence[Event] = (), messages: Sequence[Message] = ()):
        """Starts with these."""
        self.events = list(events)
        self.messages = list(messages)

    def add(self, event: Event) -> None:
        """Appends an event; see above for when."""
        self.events.append(event)

    def merged(self, event: Event, message: Message) -> None:
        """Appends the merging of a message."""
        self.messages.append(message)  # by the one thread that merges
        self.add(event._replace(message=len(self.messages) - 1))

    def clear(self) -> None:
        """Forgets everything; only while nobody else is at work."""
        self.events.clear()
        self.messages.clear()


class Recorded(NamedTuple):
    """A recording, and what else it takes to repeat the run.

    Attributes:
      recording: of one worker.
      digest: of its states in the end.
      partition: (start, stop) of each segment.
      place: rank of the worker among those of its machine, and their number; (0, 1) without binding.
    """

    recording: Recording
    digest: str
    partition: tuple[tuple[int, int], ...]
    place: tuple[int, int] = (0, 1)


def save(path: Path, recorded: Recorded) -> None:
    """Writes everything into one file."""
    recording = recorded.recording
    arrays: dict[str, Any] = {
        name: np.array([getattr(each, name) for each in recording.events], np.int64)
        for name in _COLUMNS
    }
    arrays["kind"] = np.array([KINDS.index(each.kind) for each in recording.events], np.int8)
    arrays["now"] = np.array([each.now for each in recording.events], np.float64)
    for index, message in enumerate(recording.messages):
        for name, vector in message._asdict().items():
            if vector is not None:
                arrays[f"{name}_{index}"] = np.asarray(vector)
    for name in ("digest", "partition", "place"):
        arrays[name] = np.array(getattr(recorded, name))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def load(path: Path) -> Recorded:
    """The inverse of `save`.

    Raises:
      RunFolderError: there is none, or it is no recording.
    """
    try:
        with path.open("rb") as file, np.load(file) as content:
            columns = [content[name].tolist() for name in ("kind", *_COLUMNS, "now")]
            events = [
                Event(KINDS[kind], segment, step, version, now, thread, message)
                for kind, segment, step, version, thread, message, now in zip(*columns, strict=True)
            ]
            count = sum(name.startswith("received_") for name in content.files)
            messages = [
                Message(content.get(f"sent_{index}"), content[f"received_{index}"])
                for index in range(count)
            ]
            partition = tuple((start, stop) for start, stop in content["partition"].tolist())
            rank, size = content["place"].tolist()
            return Recorded(
                Recording(events, messages), str(content["digest"]), partition, (rank, size)
            )
    except (OSError, KeyError, ValueError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise RunFolderError(
            f"'{path}' must be a recording, got '{reason(error)}'; run again with "
            "--config.record=True"
        ) from error


def digest(states: Sequence[SegmentState]) -> str:
    """SHA-256 of all parameters and model states, dtypes and shapes included."""
    total = hashlib.sha256()
    for state in states:
        for leaf in jax.tree.leaves((state.params, state.model_state)):
            array = np.asarray(leaf)
            total.update(f"{array.dtype}{array.shape}".encode())
            total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()
