"""The MPI library, loaded and initialised: mpi4py's `MPI`, which all modules take from here.

    from layup_jax.transport.library import MPI

A process outside of any job talks to itself only. Open MPI would make it a segment of shared memory
nevertheless, 16 MB in /dev/shm, and leave it there when the process ends.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from layup_jax.world import find_world

_COMPONENTS = "OMPI_MCA_btl"  # Open MPI's name for what carries messages


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Outside of jobs Open MPI loads what talks to oneself; programs started later load all."""
    if find_world(os.environ) is not None or _COMPONENTS in os.environ:
        yield
        return
    os.environ[_COMPONENTS] = "self"
    try:
        yield
    finally:
        del os.environ[_COMPONENTS]


with _alone():
    from mpi4py import MPI

__all__ = ["MPI"]
