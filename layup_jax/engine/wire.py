"""The compiled functions of a strategy's messages: what is sent, and what is made of what arrives.

    changed, vector = wire.outgoing(bare_state, now)
    changed = wire.incoming(bare_state, sent, received, now)
    changed, vector = wire.contribution(bare_state, now)        # to a sum over workers
    changed = wire.average(state, total, now)
    state = updated(state, changed, bare_state)

All return only what they changed (see `residuals`), so that nothing is copied that stays as it is.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from layup_jax.engine.residuals import Residuals, capture, restore
from layup_jax.engine.sharding import ONE_DEVICE, LocalMesh
from layup_jax.strategies.base import Strategy
from layup_jax.tree import decode, encode, num_parameters, wire_dtype
from layup_jax.types import Array, SegmentState, Shape


def bare(state: SegmentState) -> SegmentState:
    """What strategies see in gossip: neither opt_state nor model_state."""
    return state._replace(opt_state=None, model_state=None)


def updated(state: SegmentState, changed: Residuals, given: SegmentState) -> SegmentState:
    """The state after a compiled function; the very same if it changed nothing.

    Args:
      state: before.
      changed: what the function returned.
      given: what it was given: `state` with some fields None, which stay as they are.
    """
    after = restore(changed, state=given)
    pairs = zip(jax.tree.leaves(after), jax.tree.leaves(given), strict=True)
    if all(new is old for new, old in pairs):
        return state
    kept = {name: value for name, value in state._asdict().items() if getattr(given, name) is None}
    return after._replace(**kept)


class Wire:
    """Encodes and decodes one strategy's messages; compiled once for each kind of segment.

    Threads: any. States are given without model_state, and in gossip without opt_state.
    """

    def __init__(self, strategy: Strategy, mesh: LocalMesh = ONE_DEVICE):
        """Compiles at first use, for states that are `replicated` over these devices."""
        self._strategy = strategy
        self._mesh = mesh
        # Not `mesh.jit`: nothing is reduced over devices, so there is no order to keep.
        self._compiled_outgoing = jax.jit(self._outgoing)
        self._compiled_incoming = jax.jit(self._incoming)
        self._compiled_contribution = jax.jit(self._contribution)
        self._compiled_average = jax.jit(self._average)

    def shape(self, bare: SegmentState) -> Shape:
        """Of the vectors of this segment."""
        payload = jax.eval_shape(self._strategy.payload, bare, 0.0)[1]
        return Shape(num_parameters(payload), wire_dtype(payload))

    def outgoing(self, bare: SegmentState, now: float) -> tuple[Residuals, Array]:
        """What sending changes, and the vector to send, on one device."""
        changed, vector = self._compiled_outgoing(bare, now)
        return changed, self._mesh.single(vector)

    def contribution(self, bare: SegmentState, now: float) -> tuple[Residuals, Array]:
        """The same for a sum over workers, with a last element that counts who contributed."""
        changed, vector = self._compiled_contribution(bare, now)
        return changed, self._mesh.single(vector)

    def incoming(
        self,
        bare: SegmentState,
        sent: Array | np.ndarray | None,
        received: Array | np.ndarray,
        now: float,
    ) -> Residuals:
        """What merging a vector changes; `sent` is what `outgoing` gave for it, if that counts."""
        sent, received = self._mesh.replicated((sent, received))
        return self._compiled_incoming(bare, sent, received, now)

    def average(self, state: SegmentState, total: Array | np.ndarray, now: float) -> Residuals:
        """What merging a sum of contributions changes."""
        return self._compiled_average(state, self._mesh.replicated(total), now)

    def _outgoing(self, bare: SegmentState, now: Array) -> tuple[Residuals, Array]:
        after, payload = self._strategy.payload(bare, now)
        return self._mesh.pinned((capture(after, state=bare), encode(payload)))

    def _incoming(
        self, bare: SegmentState, sent: Array | None, received: Array, now: Array
    ) -> Residuals:
        like = jax.eval_shape(self._strategy.payload, bare, now)[1]
        gave = None if sent is None else decode(sent, like)
        after = self._strategy.receive(bare, gave, decode(received, like), now)
        return self._mesh.pinned(capture(after, state=bare))

    def _contribution(self, bare: SegmentState, now: Array) -> tuple[Residuals, Array]:
        """What goes out, and a 1 that counts who contributed."""
        changed, vector = self._outgoing(bare, now)
        return changed, jnp.append(vector, 1)

    def _average(self, state: SegmentState, total: Array, now: Array) -> Residuals:
        return self._incoming(state, None, total[:-1] / total[-1], now)
