"""The directed exponential graph, one peer at a time: what SGP was published with."""

from __future__ import annotations

from layup_jax.topology.base import Topology, require_workers


class OnePeerExponential(Topology):
    """Each worker sends to rank + 1, then + 2, + 4, ... in turn, so that nobody is sent to twice at once.

    References:
      SGP, arXiv 1811.10792; 2^0, ..., 2^floor(log2(n - 1)).
    """

    name = "one_peer_exponential"
    directed = True

    def __init__(self, num_workers: int):
        """Takes the number of workers.

        Raises:
          ConfigError: fewer than 1 worker.
        """
        require_workers(self.name, num_workers)
        self.num_workers = num_workers
        self._hops = [1 << power for power in range((num_workers - 1).bit_length())]

    def neighbours(self, rank: int) -> tuple[int, ...]:
        """In the order in which they are sent to."""
        return tuple((rank + hop) % self.num_workers for hop in self._hops)

    def peer(self, rank: int, turn: int, uniform: float) -> int | None:
        """The next in turn; nothing is drawn."""
        del uniform
        return next(iter(self.targets(rank, turn)), None)

    def targets(self, rank: int, turn: int) -> tuple[int, ...]:
        """The one in turn."""
        return tuple((rank + hop) % self.num_workers for hop in self._in_turn(turn))

    def sources(self, rank: int, turn: int) -> tuple[int, ...]:
        """The one as far away in the other direction."""
        return tuple((rank - hop) % self.num_workers for hop in self._in_turn(turn))

    def _in_turn(self, turn: int) -> list[int]:
        return [self._hops[turn % len(self._hops)]] if self._hops else []
