"""Exchanges of device buffers by mpi4jax: one jitted `sendrecv` that holds nothing else."""

from __future__ import annotations

from collections.abc import Callable

import jax
import mpi4jax
import numpy as np
from mpi4py import MPI

from layup_jax.types import Array

_PREPARED_PEERS = 8


class Mpi4jaxPlane:
    """Blocking `sendrecv` inside jit; compiled once for each (shape, peer), about 13 ms.

    The call spins a core until the peer is there, so both sides shake hands first.
    """

    name = "mpi4jax"

    def __init__(self, communicator: MPI.Intracomm):
        """Takes a communicator that nobody else uses."""
        self._communicator = communicator
        self._swaps: dict[tuple[int, tuple[int, ...], np.dtype], Callable[[Array], Array]] = {}

    def prepare(self, vector: Array) -> None:
        """Compiles for this shape and up to 8 peers; what is left compiles at first use."""
        for peer in range(min(self._communicator.Get_size(), _PREPARED_PEERS)):
            if peer != self._communicator.Get_rank():
                self._swap_with(peer, vector)

    def swap(self, peer: int, segment: int, vector: Array) -> Array:
        """See `Transport.swap`."""
        del segment  # in order: both sides go through the same list of segments
        return self._swap_with(peer, vector)(vector).block_until_ready()

    def _swap_with(self, peer: int, vector: Array) -> Callable[[Array], Array]:
        key = (peer, vector.shape, vector.dtype)
        if key not in self._swaps:

            def swap(mine: Array) -> Array:
                return mpi4jax.sendrecv(mine, mine, source=peer, dest=peer, comm=self._communicator)

            # Only a call of the jitted function supplies mpi4jax's ordering token; compiling it ahead
            # fills the cache that such a call looks into.
            compiled = jax.jit(swap)
            compiled.lower(vector).compile()
            self._swaps[key] = compiled
        return self._swaps[key]
