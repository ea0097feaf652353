"""Numbers of named graphs against closed forms, and against values published with A2CiD2."""

import networkx as nx
import numpy as np
import pytest

from layup_jax.topology import (
    Graph,
    OnePeerExponential,
    complete,
    exponential,
    hypercube,
    ring,
    star,
    torus,
)

SIZES = [4, 8, 16, 32, 64, 128, 256]


def _circulant_chis(num_workers, distances):
    """chi1 and chi2 of +-distances at rate 1, from the eigenvalues of a circulant matrix."""
    waves = 2 * np.pi * np.arange(1, num_workers) / num_workers
    eigenvalues = 1 - np.mean([np.cos(waves * each) for each in distances], axis=0)
    resistances = [
        2 * np.mean((1 - np.cos(waves * each)) / eigenvalues) * (num_workers - 1) / num_workers
        for each in distances
    ]
    return 1 / eigenvalues.min(), max(resistances) / 2


@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("size", SIZES)
def test_ring_and_exponential_equal_the_closed_form(size, rate):
    powers = [2**k for k in range(int(np.log2(size)))]
    for graph, distances in ((ring(size), [1]), (exponential(size), powers)):
        chi1, chi2 = _circulant_chis(size, distances)
        assert graph.chi1(rate) == pytest.approx(chi1 / rate, rel=1e-9)
        assert graph.chi2(rate) == pytest.approx(chi2 / rate, rel=1e-9)


@pytest.mark.parametrize(
    ("graph", "eta", "alpha"),
    [
        (ring(16), 0.142474, 1.871689),
        (ring(64), 0.034970, 7.262385),
        (exponential(16), 0.351858, 0.703716),
        (exponential(64), 0.285262, 0.855785),
    ],
)
def test_published_constants_follow(graph, eta, alpha):
    assert 0.5 / np.sqrt(graph.chi1() * graph.chi2()) == pytest.approx(eta, abs=1e-6)
    assert 0.5 * np.sqrt(graph.chi1() / graph.chi2()) == pytest.approx(alpha, abs=1e-6)


@pytest.mark.parametrize("size", range(1, 9))
def test_in_a_complete_graph_everybody_else_is_a_neighbour_in_order(size):
    for rank in range(size):
        assert complete(size).neighbours(rank) == tuple({*range(size)} - {rank})


@pytest.mark.parametrize("size", [2, 3, 4, 7, 16])
def test_complete(size):
    assert complete(size).chi1() == pytest.approx((size - 1) / size)
    assert complete(size).chi2() == pytest.approx((size - 1) / size)
    assert complete(size).spectral_gap() == pytest.approx(1)


def _edges(topology):
    return {
        frozenset((rank, peer))
        for rank in range(topology.num_workers)
        for peer in topology.neighbours(rank)
    }


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (ring(7), nx.cycle_graph(7)),
        (star(6), nx.star_graph(5)),
        (complete(5), nx.complete_graph(5)),
        (torus(9), nx.grid_2d_graph(3, 3, periodic=True)),
        (torus(12), nx.grid_2d_graph(3, 4, periodic=True)),
        (hypercube(8), nx.hypercube_graph(3)),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
def test_graphs_are_those_of_networkx(mine, theirs):
    ours = nx.Graph(list(map(tuple, _edges(mine))))
    assert nx.is_isomorphic(ours, theirs)


def test_one_peer_exponential_goes_round():
    graph = OnePeerExponential(8)
    assert [graph.peer(6, turn, 0.9) for turn in range(4)] == [7, 0, 2, 7]
    for turn in range(3):  # nobody is sent to twice
        assert {graph.peer(rank, turn, 0.0) for rank in range(8)} == set(range(8))


def test_any_networkx_graph_serves():
    graph = Graph.from_networkx(nx.petersen_graph(), "petersen")
    assert graph.num_workers == 10
    assert all(len(graph.neighbours(rank)) == 3 for rank in range(10))
    # Eigenvalues of the adjacency matrix are 3, 1 and -2; Metropolis weights are 1/4.
    assert graph.chi1() == pytest.approx(3 / 2)
    assert graph.spectral_gap() == pytest.approx(1 / 2)
