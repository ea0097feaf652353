"""What only the complete graph promises; the rest is in conformance."""

import pytest

from layup_jax.errors import ConfigError
from layup_jax.topology import Complete


@pytest.mark.parametrize("num_workers", range(1, 9))
def test_everybody_is_a_neighbour(num_workers):
    topology = Complete(num_workers)
    for rank in range(num_workers):
        assert set(topology.neighbours(rank)) == set(range(num_workers)) - {rank}


@pytest.mark.parametrize("num_workers", [0, -1])
def test_refuses_a_graph_without_workers(num_workers):
    with pytest.raises(
        ConfigError, match=rf"at least 1 worker, got {num_workers}; use --workers=1"
    ):
        Complete(num_workers)
