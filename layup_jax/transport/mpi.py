"""Workers as MPI processes: mpi4py for control and pushes, a data plane for exchanges.

    transport = MpiTransport(data_plane="mpi4jax")     # under mpirun or srun

Every worker must make its transport in the same order, because making one duplicates communicators.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

import numpy as np

from layup_jax.errors import TransportError
from layup_jax.transport.base import Kind, Message, Pending, Summing, Swapping
from layup_jax.transport.library import MPI
from layup_jax.types import Array

_KIND_SHIFT = 4  # a tag is (segment << 4) + kind; MPI guarantees tags up to 32767
_SLEEP_SECONDS = 0.002
_LEVELS = {
    MPI.THREAD_SINGLE: "MPI_THREAD_SINGLE",
    MPI.THREAD_FUNNELED: "MPI_THREAD_FUNNELED",
    MPI.THREAD_SERIALIZED: "MPI_THREAD_SERIALIZED",
    MPI.THREAD_MULTIPLE: "MPI_THREAD_MULTIPLE",
}


def thread_level() -> str:
    """Name of the thread support level that MPI was initialised with."""
    return _LEVELS[MPI.Query_thread()]


def require_threads() -> None:
    """Refuses an MPI that may not be called from the communication thread.

    Raises:
      TransportError: the level is below MPI_THREAD_MULTIPLE.
    """
    if MPI.Query_thread() < MPI.THREAD_MULTIPLE:
        raise TransportError(
            "the communication thread needs MPI_THREAD_MULTIPLE, but MPI was initialised with "
            f"{thread_level()}; unset MPI4PY_RC_THREAD_LEVEL and use an MPI built with threads"
        )


class _Operation:
    """A non-blocking operation and the buffers that must outlive it, as a `Pending`."""

    def __init__(self, request: MPI.Request, *buffers: np.ndarray):
        self._request = request
        self._buffers = buffers

    def done(self) -> bool:
        if self._request == MPI.REQUEST_NULL or self._request.Test():
            self._buffers = ()
            return True
        return False


class _Summing(_Operation):
    """A sum over all workers, as a `Summing`.

    From one vector into another: in place Open MPI's non-blocking sum goes along a tree, which takes more
    than twice as long over a slow network as the ring that it takes otherwise.
    """

    def __init__(self, communicator: MPI.Intracomm, mine: np.ndarray, total: np.ndarray):
        super().__init__(communicator.Iallreduce(mine, total), mine, total)
        self.total = total


class _Swapping:
    """A vector on its way out and another on its way in, as a `Swapping`."""

    def __init__(self, communicator: MPI.Intracomm, peer: int, tag: int, mine: np.ndarray):
        self.received = np.empty_like(mine)
        self._mine = mine  # must outlive the operations
        self._requests = [
            communicator.Irecv(self.received, source=peer, tag=tag),
            communicator.Isend(mine, dest=peer, tag=tag),
        ]

    def done(self) -> bool:
        return MPI.Request.Testall(self._requests)


class _Receipt(_Operation):
    """A message on its way in; complete once `done`."""

    def __init__(self, probed: MPI.Message, status: MPI.Status):
        body = np.empty(status.Get_count(MPI.BYTE), np.uint8)
        super().__init__(probed.Irecv([body, MPI.BYTE]), body)
        segment, kind = divmod(status.Get_tag(), 1 << _KIND_SHIFT)
        self.message = Message(status.Get_source(), Kind(kind), segment, body)


class _Barrier(_Operation):
    """Complete once all have come here and what they sent before has been polled."""

    def __init__(self, communicator: MPI.Intracomm, receipts: Collection[_Receipt]):
        super().__init__(communicator.Ibarrier())
        self._receipts = receipts

    def done(self) -> bool:
        return super().done() and not self._receipts


class HostPlane:
    """Exchanges and sums through host memory with non-blocking mpi4py calls."""

    name = "host"
    swaps_block = False

    def __init__(self, communicator: MPI.Intracomm):
        """Takes a communicator that nobody else uses."""
        self._communicator = communicator

    def prepare(self, vector: Array) -> None:
        """Nothing to compile."""

    def swap(self, peer: int, segment: int, vector: Array) -> Swapping:
        """See `Transport.swap`; the vector leaves as a zero-copy view where its device allows."""
        return _Swapping(self._communicator, peer, segment, np.asarray(vector))

    def prepare_sum(self, vector: Array) -> None:
        """Nothing to compile."""

    def sum(self, vector: Array | np.ndarray) -> Summing:
        """MPI_Iallreduce."""
        mine = np.asarray(vector)
        return _Summing(self._communicator, mine, np.empty_like(mine))


def make_plane(name: str):
    """The named data plane (mpi4jax | host) on a communicator of its own.

    Raises:
      TransportError: mpi4jax is asked for and cannot be imported.
    """
    if name == "host":
        return HostPlane(MPI.COMM_WORLD.Dup())
    try:
        from layup_jax.transport.mpi4jax_plane import Mpi4jaxPlane
    except ImportError as error:
        raise TransportError(
            f"the data plane mpi4jax needs a working mpi4jax, got '{error}'; "
            "run 'make env' again or use --config.transport.data_plane=host"
        ) from error
    return Mpi4jaxPlane(MPI.COMM_WORLD.Dup())


class MpiTransport:
    """One MPI process's endpoint; see `Transport`."""

    def __init__(self, data_plane: str):
        """Duplicates MPI_COMM_WORLD: collective over all workers.

        Raises:
          TransportError: too low a thread level, or no such data plane here.
        """
        require_threads()
        self._messages = MPI.COMM_WORLD.Dup()
        self._barriers = MPI.COMM_WORLD.Dup()
        self._sums = MPI.COMM_WORLD.Dup()  # apart: workers may be at different sums at a barrier
        self._plane = make_plane(data_plane)
        self._receipts: dict[int, _Receipt] = {}  # by source, of each at most one
        self.rank = self._messages.Get_rank()
        self.size = self._messages.Get_size()
        self.data_plane = self._plane.name
        self.swaps_block = self._plane.swaps_block

    def send(self, peer: int, kind: Kind, segment: int, body: np.ndarray) -> Pending:
        """A synchronous-mode send: it completes only when the peer has matched it."""
        view = body.view(np.uint8)
        tag = (segment << _KIND_SHIFT) + kind
        return _Operation(self._messages.Issend([view, MPI.BYTE], dest=peer, tag=tag), view)

    def poll(self) -> Message | None:
        """Matched probe and non-blocking receive: one peer's slow link keeps nobody waiting."""
        for receipt in self._receipts.values():
            if receipt.done():
                return self._receipts.pop(receipt.message.source).message
        receipt = self._probe()
        if receipt is None:
            return None
        if receipt.done():
            return receipt.message
        self._receipts[receipt.message.source] = receipt
        return None

    def _probe(self) -> _Receipt | None:
        """Begins to receive from a peer from whom nothing is coming in, so that order is kept."""
        sources = [MPI.ANY_SOURCE]
        if self._receipts:
            sources = [peer for peer in range(self.size) if peer not in self._receipts]
        status = MPI.Status()
        for source in sources:
            probed = self._messages.Improbe(source=source, status=status)
            if probed is not None:
                return _Receipt(probed, status)
        return None

    def prepare(self, vector: Array) -> None:
        """By the data plane."""
        self._plane.prepare(vector)

    def swap(self, peer: int, segment: int, vector: Array) -> Swapping:
        """By the data plane."""
        return self._plane.swap(peer, segment, vector)

    def prepare_sum(self, vector: Array) -> None:
        """By the data plane."""
        self._plane.prepare_sum(vector)

    def sum(self, vector: Array | np.ndarray) -> Summing:
        """By the data plane."""
        return self._plane.sum(vector)

    def barrier(self) -> Pending:
        """MPI_Ibarrier."""
        return _Barrier(self._barriers, self._receipts.values())

    def all_reduce(self, vector: np.ndarray) -> Pending:
        """MPI_Iallreduce of a copy into the vector."""
        return _Summing(self._sums, vector.copy(), vector)

    def gather(self, value: Any) -> list[Any]:
        """All values everywhere; waits with back-off, for workers may be minutes apart."""
        arrived = _Operation(self._barriers.Ibarrier())
        while not arrived.done():
            time.sleep(_SLEEP_SECONDS)
        return self._barriers.allgather(value)

    def close(self) -> None:
        """Nothing: communicators are freed by MPI_Finalize, which is collective anyway."""
