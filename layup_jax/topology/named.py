"""The named undirected graphs: functions of the number of workers."""

from __future__ import annotations

import math

from layup_jax.errors import ConfigError
from layup_jax.topology.base import require_workers
from layup_jax.topology.graph import Graph


def complete(num_workers: int) -> Graph:
    """Everybody may talk to everybody."""
    require_workers("complete", num_workers)
    ranks = range(num_workers)
    return Graph("complete", [[peer for peer in ranks if peer != rank] for rank in ranks])


def ring(num_workers: int) -> Graph:
    """Each worker talks to the one before and the one after it; two workers meet on both sides."""
    require_workers("ring", num_workers)
    return _circulant("ring", num_workers, [1])


def exponential(num_workers: int) -> Graph:
    """Neighbours at distances +-1, +-2, +-4, ... up to half of the number of workers.

    References:
      A2CiD2, arXiv 2306.08289: +-2^k for k = 0, ..., log2(n) - 1; elsewhere than at powers
      of two we round the logarithm down.
    """
    require_workers("exponential", num_workers)
    distances = [1 << power for power in range(int(math.log2(num_workers)))]
    return _circulant("exponential", num_workers, distances)


def torus(num_workers: int) -> Graph:
    """A grid as near as possible to a square whose rows and columns are rings.

    Raises:
      ConfigError: the number of workers is prime, or below 4.
    """
    require_workers("torus", num_workers)
    rows = max(each for each in range(1, math.isqrt(num_workers) + 1) if num_workers % each == 0)
    if rows == 1 and num_workers > 1:
        raise ConfigError(
            f"topology 'torus' needs a number of workers that is a product, such as 4, 6 or 9, "
            f"got {num_workers}; change --workers or use 'ring'"
        )
    columns = num_workers // rows

    def around(rank: int) -> list[int]:
        row, column = divmod(rank, columns)
        steps = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
        found = {down % rows * columns + right % columns for down, right in steps}
        return sorted(found - {rank})

    return Graph("torus", [around(rank) for rank in range(num_workers)])


def star(num_workers: int) -> Graph:
    """Worker 0 talks to all others, which talk to nobody else."""
    require_workers("star", num_workers)
    leaves = range(1, num_workers)
    return Graph("star", [tuple(leaves), *((0,) for _ in leaves)])


def hypercube(num_workers: int) -> Graph:
    """Neighbours are the ranks that differ in one binary digit.

    Raises:
      ConfigError: the number of workers is no power of two.
    """
    require_workers("hypercube", num_workers)
    if num_workers & (num_workers - 1):
        raise ConfigError(
            f"topology 'hypercube' needs a power of two as number of workers, got {num_workers}; "
            "change --workers or use 'exponential'"
        )
    digits = range(num_workers.bit_length() - 1)
    return Graph(
        "hypercube", [[rank ^ (1 << digit) for digit in digits] for rank in range(num_workers)]
    )


def _circulant(name: str, num_workers: int, distances: list[int]) -> Graph:
    if num_workers == 1:
        return Graph(name, [()])
    signed = [sign * distance for distance in distances for sign in (-1, 1)]
    ranks = range(num_workers)
    return Graph(name, [[(rank + each) % num_workers for each in signed] for rank in ranks])
