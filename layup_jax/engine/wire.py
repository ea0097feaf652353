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

In bfloat16 a message is rounded: `sent` is then what the peer gets, so that both sides of an exchange
move by opposite amounts and the sum over them is kept. See `_arrived` for push-sum.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from layup_jax.engine.residuals import Residuals, capture, restore
from layup_jax.engine.sharding import ONE_DEVICE, LocalMesh
from layup_jax.engine.small_calls import SmallCalls
from layup_jax.errors import ConfigError, ModelError
from layup_jax.strategies.base import Strategy
from layup_jax.tree import (
    decode,
    decode_narrow,
    encode,
    encode_narrow,
    num_parameters,
    num_words,
    split_inexact,
    wire_dtype,
)
from layup_jax.types import (
    Array,
    Exchange,
    NeighbourGather,
    Push,
    PyTree,
    SegmentState,
    Shape,
)


class WireOptions(NamedTuple):
    """What messages are made of.

    Attributes:
      dtype: float32 | bfloat16; in which arrays travel. float32 is for what is no wider than that,
        float64 stays as it is. bfloat16 is not for sums, which MPI does not do in it.
      shares_statistics: whether the model state travels with the payload.
    """

    dtype: str = "float32"
    shares_statistics: bool = False


def check_dtype(dtype: str, strategy: Strategy) -> None:
    """Refuses bfloat16 where it would not save anything.

    Raises:
      ConfigError: the strategy sends no messages from worker to worker.
    """
    if dtype != "float32" and strategy.asks not in (Push, Exchange, NeighbourGather):
        raise ConfigError(
            f"config.transport.wire_dtype {dtype} needs messages from worker to worker, and "
            f"{strategy.name} sends none, as sums over all stay in float32; use float32, or a method "
            "that gossips"
        )


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
        options: WireOptions | None = None,
    ):
        """Compiles at first use.

        Args:
          strategy: whose payload is sent.
          mesh: devices over which the states are `replicated`.
          options: what messages are made of.

        Raises:
          ConfigError: bfloat16 for a strategy that sends no messages from worker to worker.
        """
        options = options or WireOptions()
        check_dtype(options.dtype, strategy)
        self._strategy = strategy
        self._mesh = mesh
        self._shares_statistics = options.shares_statistics
        self._is_narrow = options.dtype == "bfloat16"
        self._encode, self._decode = (
            (encode_narrow, decode_narrow) if self._is_narrow else (encode, decode)
        )
        # Not `mesh.jit`: nothing is reduced over devices, so there is no order to keep.
        self._compiled_outgoing = SmallCalls(self._outgoing)
        self._compiled_incoming = SmallCalls(self._incoming)
        self._compiled_contribution = SmallCalls(self._contribution)
        self._compiled_average = SmallCalls(self._average)

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
        """Of the vectors of this segment.

        Raises:
          ModelError: complex numbers are to travel in bfloat16.
        """
        message = jax.eval_shape(self._message, given, 0.0)[1]
        dtype = wire_dtype(message)
        if not self._is_narrow:
            return Shape(num_parameters(message), dtype)
        if jnp.issubdtype(dtype, jnp.complexfloating):
            raise ModelError(
                f"config.transport.wire_dtype bfloat16 needs real parameters, got {dtype}; use float32"
            )
        return Shape(num_words(message), np.dtype(np.uint16))

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
        return self._mesh.pinned((capture(after, state=given), self._encode(message)))

    def _incoming(
        self,
        given: SegmentState,
        sent: Array | None,
        received: Array,
        now: Array,
        share: float = 0.5,
    ) -> Residuals:
        mine = self._message(given, now)[1]
        gave = None if sent is None else self._decode(sent, mine).payload
        payload, statistics = self._arrived(received, mine)
        bare = given._replace(model_state=None)
        after = self._strategy.receive(bare, gave, payload, now)
        mixed = _mixed(given.model_state, statistics, share)
        return self._mesh.pinned(capture(after._replace(model_state=mixed), state=given))

    def _arrived(self, received: Array, mine: _Message) -> _Message:
        """What came; in bfloat16 with the part that rounding takes from `mine`, where values are merged.

        Rounded values are multiples of bfloat16's spacing, and each mean with one pulls towards these:
        where workers agree, updates smaller than the spacing would be lost. With the receiver's own
        remainder added, what is equal stays equal. Differences to `sent` need none of this.
        """
        came = self._decode(received, mine)
        merges_values = self._strategy.weighted or self._strategy.asks is Push
        if not (self._is_narrow and merges_values):
            return came
        rounded = self._decode(self._encode(mine), mine).payload
        payload = jax.tree.map(
            lambda value, own, kept: value + (own - kept), came.payload, mine.payload, rounded
        )
        return came._replace(payload=payload)

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
