"""Who may talk to whom, and who talks now. Pure."""

from collections.abc import Callable

from layup_jax.errors import ConfigError
from layup_jax.topology.base import Topology
from layup_jax.topology.graph import Graph
from layup_jax.topology.named import complete, exponential, hypercube, ring, star, torus
from layup_jax.topology.one_peer import OnePeerExponential

TOPOLOGIES: dict[str, Callable[[int], Topology]] = {
    "complete": complete,
    "exponential": exponential,
    "hypercube": hypercube,
    "one_peer_exponential": OnePeerExponential,
    "ring": ring,
    "star": star,
    "torus": torus,
}


def make_topology(spec: str, num_workers: int) -> Topology:
    """The graph of that name, or from the file at that path (which has a dot in it).

    Raises:
      ConfigError: it cannot be had for so many workers.
    """
    if "." not in spec:
        return TOPOLOGIES[spec](num_workers)
    from layup_jax.topology.file import read_graph

    graph = read_graph(spec)
    if graph.num_workers != num_workers:
        raise ConfigError(
            f"the topology file {spec} must connect the {num_workers} workers of the run, got "
            f"{graph.num_workers}; use --workers={graph.num_workers}"
        )
    return graph


__all__ = [
    "TOPOLOGIES",
    "Graph",
    "OnePeerExponential",
    "Topology",
    "complete",
    "exponential",
    "hypercube",
    "make_topology",
    "ring",
    "star",
    "torus",
]
