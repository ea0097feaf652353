"""What a step makes of what layers carry from step to step, where others may write it meanwhile.

carried = Carried(state.model_state, model_state)      # as the forward pass read it, and left it
state = carried.onto(state)                            # the live state, when the step writes
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from layup_jax.types import Array, PyTree, SegmentState


class Carried(NamedTuple):
    """The model state of one segment before and after one forward pass.

    Attributes:
      before: as it was read.
      after: as the layers left it.
    """

    before: PyTree
    after: PyTree

    def onto(self, state: SegmentState) -> SegmentState:
        """The state with this step's change.

        Where somebody has written since it was read (a message, another thread's step), what is added
        is the change and not the result, so that neither is lost. What cannot be negative stays so: an
        element that would become negative, though neither of both is, takes the step's result.
        """
        live, before = jax.tree.leaves(state.model_state), jax.tree.leaves(self.before)
        if all(now is then for now, then in zip(live, before, strict=True)):
            return state._replace(model_state=self.after)
        return state._replace(model_state=_moved(state.model_state, self.before, self.after))


def warm_up(states: Iterable[SegmentState]) -> None:
    """Compiles what `Carried.onto` calls where others write meanwhile."""
    for state in states:
        if jax.tree.leaves(state.model_state):
            _moved(state.model_state, state.model_state, state.model_state)


@jax.jit
def _moved(live: PyTree, before: PyTree, after: PyTree) -> PyTree:
    return jax.tree.map(_shifted, live, before, after)


def _shifted(live: Array, before: Array, after: Array) -> Array:
    if not jnp.issubdtype(live.dtype, jnp.inexact):
        return after
    moved = live + (after - before)
    return jnp.where((moved < 0) & (live >= 0) & (after >= 0), after, moved)
