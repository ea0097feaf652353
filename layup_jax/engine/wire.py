"""The compiled functions of a strategy's messages: what is sent, and what is made of what arrives.

    given = wire.given(state)
    changed, vector = wire.outgoing(given, now)
    changed = wire.incoming(given, sent, wire.placed(received), now)
    changed, vector = wire.contribution(given, now)             # to a sum over workers
    changed = wire.average(given, wire.placed(total), now)
    state = updated(state, changed, given)

All return only what they changed (see `residuals`), so that nothing is copied that stays as it is.

Where workers share batch statistics, these follow the payload in every message, whatever the strategy:
a worker takes the mean of its own and what a peer sent, and as they are what an average brings.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from layup_jax.engine.residuals import Residuals, capture, restore
from layup_jax.engine.sharding import ONE_DEVICE, LocalMesh
from layup_jax.strategies.base import Strategy
from layup_jax.tree import decode, encode, num_parameters, split_inexact, wire_dtype
from layup_jax.types import Array, PyTree, SegmentState, Shape


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


class _Message(NamedTuple):
    payload: PyTree
    statistics: list[Array]


class Wire:
    """Encodes and decodes one strategy's messages; compiled once for each kind of segment.

    Threads: any.
    """

    def __init__(
        self,
        strategy: Strategy,
        mesh: LocalMesh = ONE_DEVICE,
        *,
        shares_statistics: bool = False,
    ):
        """Compiles at first use.

        Args:
          strategy: whose payload is sent.
          mesh: devices over which the states are `replicated`.
          shares_statistics: whether the model state travels with the payload.
        """
        self._strategy = strategy
        self._mesh = mesh
        self._shares_statistics = shares_statistics
        # Not `mesh.jit`: nothing is reduced over devices, so there is no order to keep.
        self._compiled_outgoing = jax.jit(self._outgoing)
        self._compiled_incoming = jax.jit(self._incoming)
        self._compiled_contribution = jax.jit(self._contribution)
        self._compiled_average = jax.jit(self._average)

    def given(self, state: SegmentState, *, with_optimizer: bool = False) -> SegmentState:
        """What the functions below take of a state; the rest is None.

        Args:
          state: whole.
          with_optimizer: as collectives merge.
        """
        return state._replace(
            opt_state=state.opt_state if with_optimizer else None,
            model_state=state.model_state if self._shares_statistics else None,
        )

    def shape(self, given: SegmentState) -> Shape:
        """Of the vectors of this segment."""
        message = jax.eval_shape(self._message, given, 0.0)[1]
        return Shape(num_parameters(message), wire_dtype(message))

    def placed(self, received: Array | np.ndarray) -> Array:
        """A received vector on the devices, all of it there: for before a slot is locked to merge it.

        What is dispatched before its inputs are there runs on a thread of XLA's, and so does all that
        waits for it: one late copy would for good take a CPU's computation away from our threads.
        """
        return jax.block_until_ready(self._mesh.replicated(jax.device_put(received)))

    def outgoing(self, given: SegmentState, now: float) -> tuple[Residuals, Array]:
        """What sending changes, and the vector to send, on one device."""
        changed, vector = self._compiled_outgoing(given, now)
        return changed, self._mesh.single(vector)

    def contribution(self, given: SegmentState, now: float) -> tuple[Residuals, Array]:
        """The same for a sum over workers, with a last element that counts who contributed."""
        changed, vector = self._compiled_contribution(given, now)
        return changed, self._mesh.single(vector)

    def incoming(
        self,
        given: SegmentState,
        sent: Array | np.ndarray | None,
        received: Array | np.ndarray,
        now: float,
    ) -> Residuals:
        """What merging a vector changes; `sent` is what `outgoing` gave for it, if that counts."""
        sent, received = self._mesh.replicated((sent, received))
        return self._compiled_incoming(given, sent, received, now)

    def average(self, given: SegmentState, total: Array | np.ndarray, now: float) -> Residuals:
        """What merging a sum of contributions changes."""
        return self._compiled_average(given, self._mesh.replicated(total), now)

    def _message(self, given: SegmentState, now: Array) -> tuple[SegmentState, _Message]:
        """What is left after sending, and what is sent."""
        after, payload = self._strategy.payload(given._replace(model_state=None), now)
        statistics, _ = split_inexact(given.model_state)
        return after._replace(model_state=given.model_state), _Message(payload, statistics)

    def _outgoing(self, given: SegmentState, now: Array) -> tuple[Residuals, Array]:
        after, message = self._message(given, now)
        return self._mesh.pinned((capture(after, state=given), encode(message)))

    def _incoming(
        self,
        given: SegmentState,
        sent: Array | None,
        received: Array,
        now: Array,
        share: float = 0.5,
    ) -> Residuals:
        like = jax.eval_shape(self._message, given, now)[1]
        gave = None if sent is None else decode(sent, like).payload
        payload, statistics = decode(received, like)
        bare = given._replace(model_state=None)
        after = self._strategy.receive(bare, gave, payload, now)
        mixed = _mixed(given.model_state, statistics, share)
        return self._mesh.pinned(capture(after._replace(model_state=mixed), state=given))

    def _contribution(self, given: SegmentState, now: Array) -> tuple[Residuals, Array]:
        """What goes out, and a 1 that counts who contributed."""
        changed, vector = self._outgoing(given, now)
        return changed, jnp.append(vector, 1)

    def _average(self, given: SegmentState, total: Array, now: Array) -> Residuals:
        return self._incoming(given, None, total[:-1] / total[-1], now, share=1.0)


def _mixed(model_state: PyTree, statistics: list[Array], share: float) -> PyTree:
    """The model state, moved by that share of the way to the statistics that came."""
    mine, rebuild = split_inexact(model_state)
    pairs = zip(mine, statistics, strict=True)
    return rebuild([(1 - share) * own + share * other for own, other in pairs])
