"""Errors that a user can mend. Each message is one sentence: expected, actual, remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LayupError(Exception):
    """Base of all errors with a one-sentence message; the command line exits with status 2."""


class ConfigError(LayupError):
    """A configuration that cannot be run."""


class DataError(LayupError):
    """A data set that cannot be read, or does not fit the configuration."""


class ModelError(LayupError):
    """A model that cannot be cut into segments or run on the data."""


class TransportError(LayupError):
    """Workers that cannot talk to each other."""


class NonFiniteError(LayupError):
    """A loss that is not a finite number."""


class PipelineError(LayupError):
    """A thread of a worker's pipeline failed, in a way that says nothing of its own."""


class PeerFailedError(LayupError):
    """Another worker failed first; this one stops because of it."""


class RunFolderError(LayupError):
    """A run folder that cannot be read or written."""


class ReportError(LayupError):
    """Runs that cannot be compared, or a report that cannot be written."""


def reason(error: Exception) -> str:
    """What went wrong outside, on one line; a system's error without its number and path."""
    if isinstance(error, UnicodeDecodeError):
        return "not text"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())


def nearest(name: str, known: Iterable[str]) -> str:
    """A remedy that names the nearest known name, or all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean '{close[0]}'?" if close else f"use one of: {', '.join(known)}"
