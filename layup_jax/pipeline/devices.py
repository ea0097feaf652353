"""Which of a worker's devices its forward and backward threads compute on, and the copies that takes.

    placement = Placement(forward=(1,), backward=(0, 2))     # indices of jax.local_devices()
    state = placement.mirrored(segment, state, placement.forward_device(thread))

The parameters live on the device of the first backward thread; a forward device holds the newest version
it has read of each, so that a segment is copied once for each write and device at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import jax

from layup_jax.errors import ConfigError
from layup_jax.types import PyTree, SegmentState

Device: TypeAlias = Any  # jax.Device, which type checkers take for a variable


class _Copy(NamedTuple):
    original: SegmentState
    state: SegmentState


class Placement:
    """Threads dealt out to devices in turn; without devices everything stays where it is.

    Threads: any.
    """

    def __init__(self, forward: Sequence[int] = (), backward: Sequence[int] = ()):
        """Takes indices of local devices.

        Raises:
          ConfigError: there is no such device, or devices for one kind of thread only.
        """
        self._forward = _devices("forward", forward)
        self._backward = _devices("backward", backward)
        if bool(forward) != bool(backward):
            raise ConfigError(
                "config.threads.forward_devices and .backward_devices go together, got "
                f"{list(forward)} and {list(backward)}; set both or none"
            )
        self._copies: dict[tuple[int, Device], _Copy] = {}

    @property
    def is_set(self) -> bool:
        """Whether there are devices to choose."""
        return bool(self._forward)

    @property
    def num_devices(self) -> int:
        """Of the kind of thread that has more; 1 where everything stays where it is."""
        return max(1, len(self._forward), len(self._backward))

    def forward_device(self, thread: int) -> Device | None:
        """Of a forward thread."""
        return self._forward[thread % len(self._forward)] if self._forward else None

    def backward_device(self, thread: int) -> Device | None:
        """Of a backward thread."""
        return self._backward[thread % len(self._backward)] if self._backward else None

    def moved(self, tree: PyTree, device: Device | None) -> PyTree:
        """The same arrays on that device; those that are there already are not copied."""
        return tree if device is None else jax.device_put(tree, device)

    def at_home(self, tree: PyTree) -> PyTree:
        """The same arrays where the parameters live."""
        return self.moved(tree, self.backward_device(0))

    def mirrored(self, segment: int, state: SegmentState, device: Device | None) -> SegmentState:
        """Parameters and model state of a segment on that device; the rest is left out."""
        if device is None:
            return state
        copy = self._copies.get((segment, device))
        if copy is None or copy.original is not state:
            params, model_state = jax.device_put((state.params, state.model_state), device)
            copy = _Copy(state, SegmentState(params, None, model_state, None))
            self._copies[segment, device] = copy
        return copy.state


def _devices(role: str, indices: Sequence[int]) -> list[Device]:
    if not indices:
        return []
    devices = jax.local_devices()
    absent = [index for index in indices if not 0 <= index < len(devices)]
    if absent:
        raise ConfigError(
            f"config.threads.{role}_devices must be among the {len(devices)} local devices, 0 to "
            f"{len(devices) - 1}, got {absent[0]}; change it"
        )
    return [devices[index] for index in indices]
