"""The conformance suite of topologies: peers are neighbours, met evenly, and the matrices mix.

for check in CHECKS:
    check(MyTopology(8))

What one number of workers shows another may hide: try several, 1 and 2 among them.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from layup_jax.testing.comparison import require_close
from layup_jax.topology import Topology

_DRAWS = 168  # for each neighbour that is listed; divided by all numbers of neighbours up to 8
_TURNS = (*range(8), *np.random.default_rng(1).integers(8, 10**9, 12).tolist())
_ROUNDING = {"rtol": 1e-7, "atol": 1e-12}  # sums of a few dozen float64 numbers of order 1


def neighbours_are_others(topology: Topology) -> None:
    """There are some unless the worker is alone, and it is none of them."""
    size = topology.num_workers
    for rank in range(size):
        neighbours = topology.neighbours(rank)
        others = set(range(size)) - {rank}
        assert set(neighbours) <= others, (
            f"neighbours of {rank} must be others of the {size} workers, got {neighbours}"
        )
        assert bool(neighbours) == (size > 1), f"{rank} of {size} workers has no neighbours"


def neighbours_are_mutual_unless_directed(topology: Topology) -> None:
    """An undirected graph lists an edge as often on both sides."""
    pairs = Counter(
        (rank, peer) for rank in range(topology.num_workers) for peer in topology.neighbours(rank)
    )
    lone = [(one, other) for one, other in pairs if pairs[one, other] != pairs[other, one]]
    assert topology.directed or not lone, f"edges of one direction in an undirected graph: {lone}"


def peers_are_neighbours(topology: Topology) -> None:
    """Whatever is drawn, whoever's turn it is; there is none only for a worker alone."""
    drawn = [0.0, 1 - 2**-53, *np.random.default_rng(0).random(50).tolist()]
    for rank in range(topology.num_workers):
        neighbours = topology.neighbours(rank)
        for turn in _TURNS:
            for uniform in drawn:
                peer = topology.peer(rank, turn, uniform)
                assert (peer in neighbours) if neighbours else (peer is None), (
                    f"the peer of {rank} at turn {turn} with {uniform} must be among {neighbours}, "
                    f"got {peer}"
                )


def peers_are_functions_of_their_arguments(topology: Topology) -> None:
    """Asked again, in another order, it answers alike."""
    asked = [
        (rank, turn, turn / 7 % 1) for rank in range(topology.num_workers) for turn in range(9)
    ]
    answers = [topology.peer(*each) for each in asked]
    again = [topology.peer(*each) for each in reversed(asked)]
    assert again[::-1] == answers, "peer must be a function of rank, turn and uniform"


def peers_are_met_as_often_as_listed(topology: Topology) -> None:
    """Over turns and draws together, a neighbour listed twice is met twice as often."""
    for rank in range(topology.num_workers):
        listed = topology.neighbours(rank)
        count = _DRAWS * len(listed)
        met = Counter(topology.peer(rank, each, (each + 0.5) / count) for each in range(count))
        expected = {peer: _DRAWS * times for peer, times in Counter(listed).items()}
        assert met == expected, f"{rank} must meet its neighbours {expected} times, got {dict(met)}"


def targets_are_neighbours(topology: Topology) -> None:
    """In a round of all: each once, and none that is no neighbour."""
    for rank in range(topology.num_workers):
        for turn in _TURNS:
            targets = topology.targets(rank, turn)
            assert len({*targets}) == len(targets), f"{rank} sends twice to one of {targets}"
            strangers = {*targets} - {*topology.neighbours(rank)}
            assert not strangers, f"targets of {rank} at turn {turn} are no neighbours: {strangers}"


def sources_are_those_whose_target_one_is(topology: Topology) -> None:
    """Who sends to a worker in a round of all is waited for by it, and nobody else is."""
    ranks = range(topology.num_workers)
    for turn in _TURNS:
        for rank in ranks:
            found = topology.sources(rank, turn)
            expected = [each for each in ranks if rank in topology.targets(each, turn)]
            assert sorted(found) == expected, (
                f"sources of {rank} at turn {turn} must be {expected}, got {found}"
            )


def everybody_can_be_reached(topology: Topology) -> None:
    """From worker 0, along edges."""
    reached = {0}
    for _ in range(topology.num_workers):
        reached |= {peer for rank in reached for peer in topology.neighbours(rank)}
    missing = set(range(topology.num_workers)) - reached
    assert not missing, f"no way leads from worker 0 to {sorted(missing)}"


def a_round_keeps_the_mean_and_mixes(topology: Topology) -> None:
    """The mixing matrix is doubly stochastic and shrinks disagreement as its spectral gap says."""
    matrix, gap = topology.mixing_matrix(), topology.spectral_gap()
    for axis in (0, 1):
        require_close(matrix.sum(axis=axis), 1.0, "rows and columns must add up to 1", **_ROUNDING)
    assert (matrix >= 0).all(), f"mixing weights must not be negative, got {matrix.min()}"
    assert 0 < gap <= 1 + 1e-12, f"the spectral gap must be in (0, 1], got {gap}"
    values = np.arange(topology.num_workers, dtype=float)
    spread = np.linalg.norm(values - values.mean())
    mixed = np.linalg.norm(matrix @ values - values.mean())
    assert mixed <= (1 - gap) * spread + 1e-12, (
        f"by the spectral gap a round must shrink {spread} to {(1 - gap) * spread}, got {mixed}"
    )


def the_laplacian_is_one_and_scales_with_the_rate(topology: Topology) -> None:
    """Symmetric, rows that add up to 0, no positive entries beside the diagonal."""
    laplacian, size = topology.laplacian(), topology.num_workers
    require_close(laplacian, laplacian.T, "the Laplacian must be symmetric")
    require_close(laplacian.sum(axis=1), 0.0, "the Laplacian's rows must add up to 0", **_ROUNDING)
    off_diagonal = laplacian - np.diag(np.diag(laplacian))
    assert (off_diagonal <= 0).all(), "the Laplacian must not be positive beside the diagonal"
    require_close(np.trace(laplacian), size * (size > 1), "its trace must be the rate of all")
    for rate in (0.5, 4.0):
        require_close(topology.laplacian(rate), rate * laplacian, "it must be linear in the rate")
        for name in ("chi1", "chi2"):
            chi = getattr(topology, name)
            require_close(chi(rate), chi() / rate, f"{name} must be inverse to the rate")


CHECKS = (
    neighbours_are_others,
    neighbours_are_mutual_unless_directed,
    peers_are_neighbours,
    peers_are_functions_of_their_arguments,
    peers_are_met_as_often_as_listed,
    targets_are_neighbours,
    sources_are_those_whose_target_one_is,
    everybody_can_be_reached,
    a_round_keeps_the_mean_and_mixes,
    the_laplacian_is_one_and_scales_with_the_rate,
)
