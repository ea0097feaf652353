"""What every topology must do: peers are neighbours, drawn or taken evenly, and its matrices mix."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from layup_jax.errors import ConfigError
from layup_jax.topology import TOPOLOGIES


def _exists(name, num_workers):
    try:
        TOPOLOGIES[name](num_workers)
    except ConfigError:
        return False
    return True


GRAPHS = [
    (name, size) for name in TOPOLOGIES for size in (*range(1, 10), 12, 16) if _exists(name, size)
]
for_all_graphs = pytest.mark.parametrize(("name", "num_workers"), GRAPHS)


def test_only_graphs_of_special_sizes_refuse_any():
    missing = {name for name in TOPOLOGIES for size in range(1, 10) if not _exists(name, size)}
    assert missing == {"torus", "hypercube"}


@pytest.mark.parametrize("name", TOPOLOGIES)
@pytest.mark.parametrize("num_workers", [0, -1])
def test_refuses_a_graph_without_workers(name, num_workers):
    with pytest.raises(ConfigError, match=rf"at least 1 worker, got {num_workers}; use"):
        TOPOLOGIES[name](num_workers)


@for_all_graphs
def test_neighbours_are_other_workers(name, num_workers):
    topology = TOPOLOGIES[name](num_workers)
    assert topology.num_workers == num_workers
    assert topology.name == name
    for rank in range(num_workers):
        assert set(topology.neighbours(rank)) <= set(range(num_workers)) - {rank}
        assert bool(topology.neighbours(rank)) == (num_workers > 1)


@for_all_graphs
def test_being_a_neighbour_is_mutual_unless_directed(name, num_workers):
    topology = TOPOLOGIES[name](num_workers)
    pairs = Counter(
        (rank, peer) for rank in range(num_workers) for peer in topology.neighbours(rank)
    )
    mutual = all(pairs[one, other] == pairs[other, one] for one, other in pairs)
    assert mutual or topology.directed


@for_all_graphs
@given(uniform=st.floats(0, 1, exclude_max=True), turn=st.integers(0, 10**9))
@example(uniform=0.0, turn=0)
@example(uniform=1 - 2**-53, turn=0)
def test_a_peer_is_a_neighbour_and_none_only_if_alone(name, num_workers, uniform, turn):
    topology = TOPOLOGIES[name](num_workers)
    for rank in range(num_workers):
        neighbours, peer = topology.neighbours(rank), topology.peer(rank, turn, uniform)
        assert peer in neighbours if neighbours else peer is None


@for_all_graphs
def test_each_neighbour_is_met_as_often_as_it_is_listed(name, num_workers):
    topology = TOPOLOGIES[name](num_workers)
    for rank in range(num_workers):
        listed = topology.neighbours(rank)
        count = 168 * len(listed)
        met = Counter(topology.peer(rank, each, (each + 0.5) / count) for each in range(count))
        assert all(met[peer] == 168 * times for peer, times in Counter(listed).items())


@for_all_graphs
def test_everybody_can_be_reached(name, num_workers):
    topology = TOPOLOGIES[name](num_workers)
    reached = {0}
    for _ in range(num_workers):
        reached |= {peer for rank in reached for peer in topology.neighbours(rank)}
    assert reached == set(range(num_workers))


@for_all_graphs
def test_a_round_of_averaging_keeps_the_mean_and_mixes(name, num_workers):
    topology = TOPOLOGIES[name](num_workers)
    matrix = topology.mixing_matrix()
    np.testing.assert_allclose(matrix.sum(axis=0), 1, atol=1e-12)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)
    assert (matrix >= 0).all()
    assert 0 < topology.spectral_gap() <= 1 + 1e-12
    values = np.arange(num_workers, dtype=float)
    spread = np.linalg.norm(values - values.mean())
    mixed = np.linalg.norm(matrix @ values - values.mean())
    assert mixed <= (1 - topology.spectral_gap()) * spread + 1e-12


@for_all_graphs
def test_the_laplacian_is_one_and_scales_with_the_rate(name, num_workers):
    topology = TOPOLOGIES[name](num_workers)
    laplacian = topology.laplacian()
    np.testing.assert_allclose(laplacian, laplacian.T)
    np.testing.assert_allclose(laplacian.sum(axis=1), 0, atol=1e-12)
    assert (laplacian - np.diag(np.diag(laplacian)) <= 0).all()
    np.testing.assert_allclose(np.trace(laplacian), num_workers * (num_workers > 1))
    for rate in (0.5, 4.0):
        np.testing.assert_allclose(topology.laplacian(rate), rate * laplacian)
        np.testing.assert_allclose(topology.chi1(rate), topology.chi1() / rate)
        np.testing.assert_allclose(topology.chi2(rate), topology.chi2() / rate)
