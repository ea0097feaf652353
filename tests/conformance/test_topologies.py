"""What every topology must do: peers are neighbours, never oneself, and uniformly drawn."""

from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from layup_jax.topology import TOPOLOGIES

WORKERS = range(1, 9)
pytestmark = [
    pytest.mark.parametrize("name", TOPOLOGIES),
    pytest.mark.parametrize("num_workers", WORKERS),
]


def test_neighbours_are_other_workers_in_order(name, num_workers):
    topology = TOPOLOGIES[name](num_workers)
    assert topology.num_workers == num_workers
    assert topology.name == name
    for rank in range(num_workers):
        neighbours = topology.neighbours(rank)
        assert list(neighbours) == sorted(set(neighbours))
        assert set(neighbours) <= set(range(num_workers)) - {rank}


def test_being_a_neighbour_is_mutual(name, num_workers):
    topology = TOPOLOGIES[name](num_workers)
    for rank in range(num_workers):
        assert all(rank in topology.neighbours(other) for other in topology.neighbours(rank))


@given(uniform=st.floats(0, 1, exclude_max=True))
@example(uniform=0.0)
@example(uniform=1 - 2**-53)
def test_a_peer_is_a_neighbour_and_none_only_if_alone(name, num_workers, uniform):
    topology = TOPOLOGIES[name](num_workers)
    for rank in range(num_workers):
        neighbours, peer = topology.neighbours(rank), topology.peer(rank, uniform)
        assert peer in neighbours if neighbours else peer is None


def test_peers_are_uniform(name, num_workers):
    topology = TOPOLOGIES[name](num_workers)
    draws = 2520  # divisible by all of 1 to 9
    for rank in range(num_workers):
        neighbours = topology.neighbours(rank)
        peers = Counter(topology.peer(rank, (draw + 0.5) / draws) for draw in range(draws))
        for each in neighbours:
            assert peers[each] == draws // len(neighbours)


def test_everybody_can_be_reached(name, num_workers):
    topology = TOPOLOGIES[name](num_workers)
    reached = {0}
    for _ in range(num_workers):
        reached |= {peer for rank in reached for peer in topology.neighbours(rank)}
    assert reached == set(range(num_workers))
