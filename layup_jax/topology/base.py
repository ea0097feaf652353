"""The contract of a topology, and what every one of them can be asked about how fast it mixes.

    topology = ring(16)
    topology.neighbours(0)              # (15, 1)
    topology.peer(0, 7, 0.3)            # whom worker 0 talks to at its 7th turn
    topology.chi1(), topology.chi2()    # what A2CiD2 needs

Matrices are (num_workers, num_workers) float64 arrays.
"""

from __future__ import annotations

import abc

import numpy as np

from layup_jax.errors import ConfigError


def require_workers(name: str, num_workers: int) -> None:
    """Refuses a graph without workers.

    Raises:
      ConfigError: fewer than 1.
    """
    if num_workers < 1:
        raise ConfigError(
            f"topology '{name}' needs at least 1 worker, got {num_workers}; use --workers=1"
        )


class Topology(abc.ABC):
    """Who may talk to whom, and who talks now. Pure and immutable.

    Attributes:
      name: as in configurations and messages.
      num_workers: size of the graph.
      directed: whether a worker only sends to its neighbours; exchanges need False.
    """

    name: str
    num_workers: int
    directed: bool = False

    @abc.abstractmethod
    def neighbours(self, rank: int) -> tuple[int, ...]:
        """Workers that `rank` may talk (directed: send) to; one listed twice is met twice as often."""

    @abc.abstractmethod
    def peer(self, rank: int, turn: int, uniform: float) -> int | None:
        """The worker to talk to now; None if alone.

        Args:
          rank: who asks.
          turn: counts what this worker has asked before, from 0; graphs that are gone through in
            turn use it.
          uniform: drawn uniformly from [0, 1); graphs that are sampled use it.
        """

    def targets(self, rank: int, turn: int) -> tuple[int, ...]:
        """Workers that `rank` sends to in a round of all; unlike `neighbours`, each once."""
        del turn
        return tuple(dict.fromkeys(self.neighbours(rank)))

    def sources(self, rank: int, turn: int) -> tuple[int, ...]:
        """Workers whose targets `rank` is in that round."""
        others = range(self.num_workers)
        return tuple(each for each in others if rank in self.targets(each, turn))

    def gossip_matrix(self) -> np.ndarray:
        """Entry (i, j): probability that i's next peer is j. Rows sum to 1, the diagonal is 0."""
        matrix = np.zeros((self.num_workers, self.num_workers))
        for rank in range(self.num_workers):
            peers = self.neighbours(rank)
            np.add.at(matrix[rank], list(peers), 1 / max(len(peers), 1))
        return matrix

    def mixing_matrix(self) -> np.ndarray:
        """Weights of one round in which everybody averages with its neighbours; doubly stochastic.

        Undirected graphs have symmetric Metropolis weights; directed ones keep half and send half,
        averaged over turns.

        References:
          Xiao and Boyd 2004, "Fast linear iterations for distributed averaging".
        """
        gossip = self.gossip_matrix()
        if self.directed:
            return np.diag(1 - gossip.sum(axis=1) / 2) + gossip / 2
        degrees = np.array([len(self.neighbours(rank)) for rank in range(self.num_workers)])
        rows = gossip * (degrees / (degrees + 1))[:, None]
        weights = np.minimum(rows, rows.T)
        return weights + np.diag(1 - weights.sum(axis=1))

    def laplacian(self, rate: float = 1.0) -> np.ndarray:
        """Of the graph whose edges are weighted by how often they are used in a unit of time.

        Args:
          rate: exchanges of one worker in a unit of time, in expectation.

        Returns:
          rate (I - W) for W = `gossip_matrix()` where all workers have equally many neighbours;
          elsewhere the same of W's symmetric part, so that an edge counts what both its ends ask.

        References:
          A2CiD2, arXiv 2306.08289; the symmetric part is our generalisation.
        """
        gossip = self.gossip_matrix()
        symmetric = rate * (gossip + gossip.T) / 2
        return np.diag(symmetric.sum(axis=1)) - symmetric

    def chi1(self, rate: float = 1.0) -> float:
        """1 / the smallest positive eigenvalue of the Laplacian; 0 for a single worker."""
        if self.num_workers == 1:
            return 0.0
        return float(1 / np.linalg.eigvalsh(self.laplacian(rate))[1])

    def chi2(self, rate: float = 1.0) -> float:
        """Half of the largest resistance of an edge; 0 for a single worker."""
        inverse = np.linalg.pinv(self.laplacian(rate), hermitian=True)
        corners = np.diag(inverse)
        resistances = corners[:, None] + corners[None, :] - 2 * inverse
        is_edge = self.gossip_matrix() > 0
        return float(np.max(resistances, where=is_edge, initial=0.0)) / 2

    def spectral_gap(self) -> float:
        """1 - the factor by which a round of `mixing_matrix` shrinks disagreement, in [0, 1]."""
        mean = np.full((self.num_workers, self.num_workers), 1 / self.num_workers)
        return float(1 - np.linalg.norm(self.mixing_matrix() - mean, ord=2))
