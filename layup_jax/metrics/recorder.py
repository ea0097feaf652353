"""One worker's metrics.jsonl: one JSON object a line, in the file as soon as it is written.

    with MetricsRecorder(folder.metrics(rank)) as recorder:
        recorder.write(StepRecord(rank=rank, step=10, ...))
    lines = read_metrics(folder.metrics(rank))      # what was written, killed worker or not

A line costs about 20 microseconds. Every line is valid JSON: see `records` for floats that are
not finite.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

from layup_jax.errors import RunFolderError
from layup_jax.metrics.records import Line, decode, encode, finite


def _plain(value: Any) -> Any:
    """Numbers and lists for the scalars and arrays of numpy and jax."""
    try:
        return value.tolist()
    except AttributeError:
        raise TypeError(f"metrics hold plain values, got {type(value).__name__}") from None


# Made once: json.dumps with options makes an encoder at every call.
_ENCODER = json.JSONEncoder(allow_nan=False, default=_plain)
_LENIENT = json.JSONEncoder(default=_plain)


class MetricsRecorder:
    """Appends lines to a file; what a write has returned from survives a kill of the process.

    Threads: any may write. After close: `write` raises ValueError; `close` does nothing.
    """

    def __init__(self, path: Path) -> None:
        """Opens `path`, makes its folder, and cuts off a last line that a kill left incomplete."""
        path.parent.mkdir(parents=True, exist_ok=True)
        _cut_incomplete_line(path)
        self._file = path.open("ab")

    def write(self, line: Line) -> None:
        """Appends one line and flushes it."""
        # One call for the whole line: the file's own lock keeps lines of threads apart.
        self._file.write(_to_json(line).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Closes the file; may be called again."""
        self._file.close()

    def __enter__(self) -> Self:
        """The recorder itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes."""
        self.close()


def read_metrics(path: Path) -> tuple[Line, ...]:
    """Reads what a `MetricsRecorder` wrote.

    Args:
      path: of metrics.jsonl; a file that does not exist has no lines.

    Returns:
      The records in the order of the file. An incomplete last line is left out.

    Raises:
      RunFolderError: a line before the last is not one of ours.
    """
    if not path.exists():
        return ()
    lines = path.read_bytes().splitlines()
    records = []
    for number, text in enumerate(lines, start=1):
        try:
            records.append(decode(json.loads(text)))
        except (ValueError, KeyError, TypeError, AttributeError):
            if number < len(lines):
                raise RunFolderError(
                    f"line {number} of '{path}' must be a record of metrics, got {text[:40]!r}; "
                    "delete that line"
                ) from None
    return tuple(records)


def _to_json(line: Line) -> str:
    mapping = encode(line)
    try:
        return _ENCODER.encode(mapping)
    except ValueError:  # rare, so that only a non-finite float pays for the second pass
        return _ENCODER.encode(finite(json.loads(_LENIENT.encode(mapping))))


def _cut_incomplete_line(path: Path) -> None:
    """A line appended to an incomplete one would spoil both."""
    if not path.exists():
        return
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
