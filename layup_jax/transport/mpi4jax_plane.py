"""Exchanges and sums of device buffers by mpi4jax: jitted calls that hold nothing else."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import mpi4jax
import numpy as np

from layup_jax.transport.library import MPI
from layup_jax.types import Array

_PREPARED_PEERS = 8


class _Swapped:
    """A swap that is over, as a `Swapping`."""

    def __init__(self, received: Array):
        self.received = received

    def done(self) -> bool:
        return True


class _Summing:
    """Waits for everybody without blocking, then sums; see `Summing`."""

    def __init__(self, arrived: MPI.Request, add: Callable[[], Array]):
        self._arrived = arrived
        self._add = add
        self.total: Array | None = None

    def done(self) -> bool:
        if self.total is None and self._arrived.Test():
            self.total = self._add()
        return self.total is not None


class Mpi4jaxPlane:
    """Blocking `sendrecv` and `allreduce` inside jit; compiled for each shape and peer, about 13 ms.

    The calls spin a core until the others are there, so all shake hands first.
    """

    name = "mpi4jax"
    swaps_block = True

    def __init__(self, communicator: MPI.Intracomm):
        """Takes a communicator that nobody else uses."""
        self._communicator = communicator
        self._arrivals = communicator.Dup()
        self._sums: dict[tuple[tuple[int, ...], np.dtype], Callable[[Array], Array]] = {}
        self._swaps: dict[tuple[int, tuple[int, ...], np.dtype], Callable[[Array], Array]] = {}

    def prepare(self, vector: Array) -> None:
        """Compiles for this shape and up to 8 peers; what is left compiles at first use."""
        for peer in range(min(self._communicator.Get_size(), _PREPARED_PEERS)):
            if peer != self._communicator.Get_rank():
                self._swap_with(peer, vector)

    def swap(self, peer: int, segment: int, vector: Array) -> _Swapped:
        """See `Transport.swap`."""
        del segment  # in order: both sides go through the same list of segments
        return _Swapped(self._swap_with(peer, vector)(vector).block_until_ready())

    def prepare_sum(self, vector: Array) -> None:
        """Compiles for this shape."""
        self._sum_of(jnp.asarray(vector))

    def sum(self, vector: Array | np.ndarray) -> _Summing:
        """See `Transport.sum`."""
        mine = jnp.asarray(vector)
        add = self._sum_of(mine)
        return _Summing(self._arrivals.Ibarrier(), lambda: add(mine).block_until_ready())

    def _sum_of(self, vector: Array) -> Callable[[Array], Array]:
        key = (vector.shape, vector.dtype)
        if key not in self._sums:

            def add(mine: Array) -> Array:
                return mpi4jax.allreduce(mine, op=MPI.SUM, comm=self._communicator)

            self._sums[key] = _compiled(add, vector)
        return self._sums[key]

    def _swap_with(self, peer: int, vector: Array) -> Callable[[Array], Array]:
        key = (peer, vector.shape, vector.dtype)
        if key not in self._swaps:

            def swap(mine: Array) -> Array:
                return mpi4jax.sendrecv(mine, mine, source=peer, dest=peer, comm=self._communicator)

            self._swaps[key] = _compiled(swap, vector)
        return self._swaps[key]


def _compiled(function: Callable[[Array], Array], vector: Array) -> Callable[[Array], Array]:
    """Jitted and compiled ahead, but called by name.

    Only a call of the jitted function supplies mpi4jax's ordering token; compiling it ahead fills the
    cache that such a call looks into.
    """
    jitted = jax.jit(function)
    jitted.lower(vector).compile()
    return jitted
