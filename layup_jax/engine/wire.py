"""The compiled functions of a strategy's messages: what is sent, and what is made of what arrives.

    changed, vector = wire.outgoing(bare_state, now)
    changed = wire.incoming(bare_state, sent, received, now)

Both return only what they changed (see `residuals`), so that nothing is copied that stays as it is.
"""

from __future__ import annotations

import jax
import numpy as np

from layup_jax.engine.residuals import Residuals, capture
from layup_jax.strategies.base import Strategy
from layup_jax.tree import decode, encode, wire_dtype
from layup_jax.types import Array, SegmentState


class Wire:
    """Encodes and decodes one strategy's messages; compiled once for each kind of segment.

    Threads: any. States are given bare, with opt_state and model_state None.
    """

    def __init__(self, strategy: Strategy):
        """Compiles at first use."""
        self._strategy = strategy
        self.outgoing = jax.jit(self._outgoing)
        self.incoming = jax.jit(self._incoming)

    def dtype(self, bare: SegmentState) -> np.dtype:
        """Dtype of the vectors of this segment."""
        return wire_dtype(jax.eval_shape(self._strategy.payload, bare, 0.0)[1])

    def _outgoing(self, bare: SegmentState, now: Array) -> tuple[Residuals, Array]:
        after, payload = self._strategy.payload(bare, now)
        return capture(after, state=bare), encode(payload)

    def _incoming(
        self, bare: SegmentState, sent: Array | None, received: Array, now: Array
    ) -> Residuals:
        like = jax.eval_shape(self._strategy.payload, bare, now)[1]
        gave = None if sent is None else decode(sent, like)
        after = self._strategy.receive(bare, gave, decode(received, like), now)
        return capture(after, state=bare)
