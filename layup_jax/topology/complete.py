"""The complete graph: everybody may talk to everybody."""

from __future__ import annotations

from layup_jax.errors import ConfigError


class Complete:
    """Uniform peers among all other workers.

    Attributes:
      name: as in configurations.
      num_workers: size of the graph.
    """

    name = "complete"

    def __init__(self, num_workers: int):
        """Takes the number of workers.

        Raises:
          ConfigError: fewer than 1 worker.
        """
        if num_workers < 1:
            raise ConfigError(
                f"topology 'complete' needs at least 1 worker, got {num_workers}; use --workers=1"
            )
        self.num_workers = num_workers

    def neighbours(self, rank: int) -> tuple[int, ...]:
        """All other ranks, ascending."""
        return tuple(other for other in range(self.num_workers) if other != rank)

    def peer(self, rank: int, uniform: float) -> int | None:
        """The worker to talk to, given a number drawn uniformly from [0, 1); None if alone."""
        others = self.num_workers - 1
        if others == 0:
            return None
        index = int(uniform * others)
        return index + (index >= rank)
