"""What a step needs by XLA's own count, whatever an allocator makes of it.

mesh = WeighedMesh()
engine = prepare(task, config, chosen, 1, mesh=mesh).engine
...                                                    # a step
mesh.peak_bytes
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax

from layup_jax.engine.sharding import LocalMesh
from layup_jax.types import PyTree


class WeighedMesh(LocalMesh):
    """One device, which knows the most that its compiled calls ever needed.

    Attributes:
      peak_bytes: of arrays that existed when a call began, of its results and of its temporary buffers;
        without what existed before this object.
    """

    def __init__(self) -> None:
        """Counts from now on."""
        super().__init__()
        self._before = _alive()
        self.peak_bytes = 0

    def jit(self, function: Callable, donate_argnums: int | Sequence[int] = ()) -> Callable:
        """`jax.jit`, each call of which is counted."""
        jitted: Any = super().jit(function, donate_argnums)
        compiled: dict[Hashable, Any] = {}

        def call(*arguments: PyTree) -> PyTree:
            kind = _kind(arguments)
            if kind not in compiled:
                compiled[kind] = jitted.lower(*arguments).compile()
            program = compiled[kind]
            needed = program.memory_analysis()
            more = needed.temp_size_in_bytes + needed.output_size_in_bytes
            alive = _alive() - self._before - needed.alias_size_in_bytes
            self.peak_bytes = max(self.peak_bytes, alive + more)
            return program(*arguments)

        return call


def _alive() -> int:
    """Bytes of all arrays of this process."""
    return sum(array.nbytes for array in jax.live_arrays())


def _kind(arguments: PyTree) -> Hashable:
    """What a compiled call depends on."""
    leaves, structure = jax.tree.flatten(arguments)
    return structure, tuple(map(jax.typeof, leaves))
