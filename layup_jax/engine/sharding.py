"""The devices of one worker: each batch lies in equal parts on them, every state as a copy on each.

    mesh = own_mesh(4)                             # the first four local devices
    states = mesh.replicated(states)
    step = mesh.jit(lambda states, batch: mesh.pinned(update(states, batch)))
    states = step(states, mesh.sharded(batch))
    vector = mesh.single(vector)                   # one copy: what is sent to other workers

XLA shares out the computation and puts in the reductions; to what is computed a batch is still one batch,
so losses, batch statistics and random numbers are those of one device. Nothing here knows other workers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from layup_jax.errors import ConfigError
from layup_jax.types import PyTree

Device: TypeAlias = Any  # jax.Device, which type checkers take for a variable

_AXIS = "samples"


class LocalMesh:
    """A worker's devices in a row; with one everything stays where JAX puts it.

    Threads: any. Blocks: functions of `jit`, while another one is being dispatched; on CPUs until they
      have computed.
    """

    def __init__(self, devices: Sequence[Device] = ()):
        """Takes devices of this process; none stands for the one that JAX chooses."""
        self.devices = tuple(devices)
        self.size = max(1, len(devices))
        self._dispatching = threading.Lock()
        self._waits = any(device.platform == "cpu" for device in devices)
        self._everywhere: NamedSharding | None = None
        self._in_parts: NamedSharding | None = None
        if self.size > 1:
            mesh = Mesh(np.array(devices), (_AXIS,), axis_types=(AxisType.Auto,))
            self._everywhere = NamedSharding(mesh, PartitionSpec())
            self._in_parts = NamedSharding(mesh, PartitionSpec(_AXIS))

    def sharded(self, batch: PyTree) -> PyTree:
        """Puts an equal part of the samples on each device.

        Args:
          batch: a record; every leaf with the samples as first axis.

        Raises:
          ConfigError: the parts would not be equal.
        """
        if self._in_parts is None:
            return batch
        for leaf in jax.tree.leaves(batch):
            check_divisible(leaf.shape[0], self.size)
        return jax.device_put(batch, self._in_parts)

    def replicated(self, tree: PyTree) -> PyTree:
        """Puts a copy on each device."""
        return tree if self._everywhere is None else jax.device_put(tree, self._everywhere)

    def single(self, tree: PyTree) -> PyTree:
        """The first device's copy of what `replicated` or `pinned` gave; nothing is moved."""
        if self._everywhere is None:
            return tree
        return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)

    def pinned(self, tree: PyTree) -> PyTree:
        """Inside a compiled function: makes XLA return a copy on each device, whatever it prefers."""
        if self._everywhere is None:
            return tree
        return jax.lax.with_sharding_constraint(tree, self._everywhere)

    def jit(self, function: Callable, donate_argnums: int | Sequence[int] = ()) -> Callable:
        """`jax.jit`, whose calls reach all devices in one order, whichever threads they come from.

        Else two programs that began in a different order on two devices would wait for each other in
        their reductions. Devices of a CPU share a pool of threads, of which a second program can take
        what the first one's reductions wait for: there one program has to end before the next begins.
        """
        compiled = jax.jit(function, donate_argnums=donate_argnums)
        if self.size == 1:
            return compiled

        def dispatch(*arguments: PyTree) -> PyTree:
            with self._dispatching:
                results = compiled(*arguments)
                return jax.block_until_ready(results) if self._waits else results

        return dispatch


ONE_DEVICE = LocalMesh()


def check_divisible(samples: int, devices: int) -> None:
    """Refuses a batch that cannot be cut into equal parts.

    Raises:
      ConfigError: so it is.
    """
    if samples % devices:
        raise ConfigError(
            f"the samples of a batch must be divisible by config.local_devices, {devices}, got "
            f"{samples} samples; change config.batch_size or config.local_devices"
        )


def local_meshes(workers: int, size: int) -> list[LocalMesh]:
    """Devices of their own for the workers of one process.

    Args:
      workers: how many.
      size: devices of each; 1 leaves all on the device that JAX chooses.

    Returns:
      By rank.

    Raises:
      ConfigError: there are not so many devices.
    """
    if size == 1:
        return [ONE_DEVICE] * workers
    devices, needed = jax.local_devices(), workers * size
    if needed > len(devices):
        raise ConfigError(
            f"{workers} worker{'s' * (workers > 1)} with config.local_devices {size} must have {needed} "
            f"devices in this process, got {len(devices)}; lower it, or on CPUs set "
            f"XLA_FLAGS=--xla_force_host_platform_device_count={needed}"
        )
    return [LocalMesh(devices[start : start + size]) for start in range(0, needed, size)]


def own_mesh(size: int, local_rank: int = 0, local_size: int = 1) -> LocalMesh:
    """Devices of a worker that is a process.

    Args:
      size: how many.
      local_rank: of this worker on its machine.
      local_size: number of workers on this machine.

    Returns:
      The first ones that the process sees; where it sees enough for all workers of the machine, they may
      see the same ones, and each takes its own.

    Raises:
      ConfigError: there are not so many devices.
    """
    if size > 1 and local_size * size <= len(jax.local_devices()):
        return local_meshes(local_size, size)[local_rank]
    return local_meshes(1, size)[0]
