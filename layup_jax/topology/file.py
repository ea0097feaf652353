"""Topologies from files that networkx reads; the nodes are the ranks 0, 1, ...

graph = read_graph("cluster.edgelist")      # lines such as "0 1"
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx

from layup_jax.errors import ConfigError
from layup_jax.topology.graph import Graph

READERS: dict[str, Callable[[Path], Any]] = {
    ".edgelist": lambda path: nx.read_edgelist(path, nodetype=int, data=False),
    ".adjlist": lambda path: nx.read_adjlist(path, nodetype=int),
    ".graphml": lambda path: nx.read_graphml(path, node_type=int),
    ".gml": lambda path: nx.read_gml(path, label="id"),
}


def read_graph(path: str | Path) -> Graph:
    """Reads an undirected graph; its format follows from its suffix, see `READERS`.

    Raises:
      ConfigError: no such file or format, or not a graph of the ranks 0, 1, ...
    """
    path = Path(path)
    if path.suffix not in READERS:
        known = ", ".join(READERS)
        raise ConfigError(f"a topology file must end in one of {known}, got '{path}'; convert it")
    try:
        graph = READERS[path.suffix](path)
    except FileNotFoundError:
        raise ConfigError(f"the topology file {path} was not found; correct its path") from None
    except (OSError, ValueError, TypeError, SyntaxError, nx.NetworkXException) as error:
        raise ConfigError(
            f"the topology file {path} must be readable as {path.suffix[1:]}, got '{error}'; mend it"
        ) from error
    if not graph:
        raise ConfigError(f"the topology file {path} must have edges, got none; mend it")
    if set(graph.nodes) != set(range(len(graph))):
        raise ConfigError(
            f"the topology file {path} must name its nodes 0 to {len(graph) - 1}, got "
            f"{', '.join(map(str, list(graph.nodes)[:4]))}, ...; rename them"
        )
    ordered = nx.empty_graph(len(graph), create_using=type(graph))
    ordered.add_edges_from(graph.edges())
    return Graph.from_networkx(ordered, path.name)
