"""An undirected graph given by its neighbour lists, sampled uniformly: most topologies are one.

graph = Graph("pair", [(1,), (0,)])
graph = Graph.from_networkx(networkx.petersen_graph())
"""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import Any

from layup_jax.errors import ConfigError
from layup_jax.topology.base import Topology, require_workers


class Graph(Topology):
    """A connected undirected graph on the ranks 0, 1, ..."""

    def __init__(self, name: str, neighbours: Sequence[Sequence[int]]):
        """Takes the neighbours of each rank.

        Args:
          name: for messages.
          neighbours: of each rank in order; multiple edges are multiple entries.

        Raises:
          ConfigError: no worker, an edge to nowhere, to oneself or of one direction, or more than one
            component.
        """
        self.name = name
        self.num_workers = len(neighbours)
        self._neighbours = tuple(tuple(each) for each in neighbours)
        require_workers(name, self.num_workers)
        self._require_undirected()
        self._require_connected()

    @classmethod
    def from_networkx(cls, graph: Any, name: str = "networkx") -> Graph:
        """Any networkx graph; ranks are its nodes in order, weights of edges are not used.

        Raises:
          ConfigError: it is directed, not connected, or has an edge from a node to itself.
        """
        if graph.is_directed():
            raise ConfigError(
                f"topology '{name}' must be an undirected graph, got a directed one; "
                "convert it with graph.to_undirected()"
            )
        ranks = {node: rank for rank, node in enumerate(graph.nodes)}
        neighbours: list[list[int]] = [[] for _ in ranks]
        for one, other in graph.edges():
            neighbours[ranks[one]].append(ranks[other])
            neighbours[ranks[other]].append(ranks[one])
        return cls(name, [sorted(each) for each in neighbours])

    def neighbours(self, rank: int) -> tuple[int, ...]:
        """As given."""
        return self._neighbours[rank]

    def sources(self, rank: int, turn: int) -> tuple[int, ...]:
        """The targets: edges have two directions."""
        return self.targets(rank, turn)

    def peer(self, rank: int, turn: int, uniform: float) -> int | None:
        """A uniformly drawn neighbour."""
        del turn
        peers = self._neighbours[rank]
        return peers[int(uniform * len(peers))] if peers else None

    def _require_undirected(self) -> None:
        edges = collections.Counter(
            (rank, peer) for rank, peers in enumerate(self._neighbours) for peer in peers
        )
        for (rank, peer), count in edges.items():
            if rank == peer or not 0 <= peer < self.num_workers or edges[peer, rank] != count:
                raise ConfigError(
                    f"topology '{self.name}' must have edges between two of its "
                    f"{self.num_workers} workers in both directions, got {rank} -> {peer}; mend it"
                )

    def _require_connected(self) -> None:
        reached, front = {0}, [0]
        while front:
            found = set(self._neighbours[front.pop()]) - reached
            reached |= found
            front += found
        missing = set(range(self.num_workers)) - reached
        if missing:
            raise ConfigError(
                f"topology '{self.name}' must connect all of its {self.num_workers} workers, got no way "
                f"from 0 to {min(missing)}; add edges"
            )
