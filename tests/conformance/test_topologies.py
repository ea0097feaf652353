"""Every topology passes the conformance suite, with all numbers of workers that it can have."""

import networkx
import pytest

from layup_jax.errors import ConfigError
from layup_jax.testing import topologies
from layup_jax.topology import TOPOLOGIES, Graph


def _exists(name, num_workers):
    try:
        TOPOLOGIES[name](num_workers)
    except ConfigError:
        return False
    return True


GRAPHS = [
    (name, size) for name in TOPOLOGIES for size in (*range(1, 10), 12, 16) if _exists(name, size)
]
for_all_checks = pytest.mark.parametrize(
    "check", topologies.CHECKS, ids=lambda check: check.__name__
)


def test_only_graphs_of_special_sizes_refuse_any():
    missing = {name for name in TOPOLOGIES for size in range(1, 10) if not _exists(name, size)}
    assert missing == {"torus", "hypercube"}


@pytest.mark.parametrize("name", TOPOLOGIES)
@pytest.mark.parametrize("num_workers", [0, -1])
def test_refuses_a_graph_without_workers(name, num_workers):
    with pytest.raises(ConfigError, match=rf"at least 1 worker, got {num_workers}; use"):
        TOPOLOGIES[name](num_workers)


@pytest.mark.parametrize(("name", "num_workers"), GRAPHS)
def test_is_what_was_asked_for(name, num_workers):
    topology = TOPOLOGIES[name](num_workers)
    assert (topology.name, topology.num_workers) == (name, num_workers)


@for_all_checks
@pytest.mark.parametrize(("name", "num_workers"), GRAPHS)
def test_conforms(check, name, num_workers):
    check(TOPOLOGIES[name](num_workers))


@for_all_checks
def test_a_graph_of_networkx_conforms(check):
    check(Graph.from_networkx(networkx.petersen_graph()))
