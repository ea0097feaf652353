"""Where a run took place: enough to repeat it, nothing about who ran it.

environment = describe_environment(seed=0, now=datetime.now(UTC))
environment.versions["jax"]        # "0.10.2"
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

_PACKAGES = (
    "layup_jax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "numpy",
    "mpi4py",
    "mpi4jax",
    "openmpi",
    "grain",
    "tensorflow-datasets",
)
_GIT_SECONDS = 5.0


class Environment(NamedTuple):
    """The content of environment.json; the host's name is left out on purpose.

    Attributes:
      started: UTC, ISO 8601.
      seed: of the run.
      python: version.
      platform: operating system and processor.
      processors: that this process may use.
      versions: of packages, by name; None for one that is not installed.
      xla_flags: that the compiler was started with; None without any.
      git_commit: of the source tree; None where the package is not in one.
      git_dirty: whether the source tree differs from that commit; None likewise.
    """

    started: str
    seed: int
    python: str
    platform: str
    processors: int | None
    versions: Mapping[str, str | None]
    xla_flags: str | None
    git_commit: str | None
    git_dirty: bool | None


def describe_environment(seed: int, now: datetime) -> Environment:
    """Looks around; takes about 30 ms, most of it git's.

    Args:
      seed: of the run.
      now: start of the run, in UTC.

    Returns:
      The record for environment.json.
    """
    commit, dirty = _source_state(Path(__file__).resolve().parents[1])
    return Environment(
        started=now.isoformat(timespec="seconds"),
        seed=seed,
        python=platform.python_version(),
        platform=platform.platform(),
        processors=_processors(),
        versions={name: _version(name) for name in _PACKAGES},
        xla_flags=os.environ.get("XLA_FLAGS") or None,
        git_commit=commit,
        git_dirty=dirty,
    )


def _processors() -> int | None:
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _source_state(package: Path) -> tuple[str | None, bool | None]:
    # An installed copy below somebody else's repository is not tracked there.
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None, None
    changes = _git(package, "status", "--porcelain")
    return _git(package, "rev-parse", "HEAD"), None if changes is None else bool(changes)


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints; None where it fails or is missing."""
    command = ("git", "--no-optional-locks", "-C", str(folder), *arguments)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
