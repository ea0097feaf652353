"""Where the lines of a worker go: a file, a terminal, TensorBoard."""

from __future__ import annotations

from typing import Protocol

from layup_jax.metrics.records import Line


class Sink(Protocol):
    """Where a worker's metrics go."""

    def write(self, line: Line) -> None:
        """Takes one line, on the compute thread; must be quick."""
        ...

    def close(self) -> None:
        """Writes what is left."""
        ...
