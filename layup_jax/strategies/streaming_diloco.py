"""Streaming DiLoCo: fragments of the model are averaged in turn, each merged some steps later."""

from __future__ import annotations

from typing import NamedTuple

import jax
import optax

from layup_jax.draws import Draws
from layup_jax.errors import ConfigError
from layup_jax.strategies.local_sgd import Rounds
from layup_jax.strategies.outer import OuterOptimization, outer_step
from layup_jax.types import AllReduce, Array, PyTree, Request, SegmentState, SegmentUpdated


class Streaming(NamedTuple):
    """How fragments take turns.

    Attributes:
      period: H, steps from one average of a fragment to the next.
      fragments: P; segment l belongs to fragment l mod P, the paper's strided pattern.
      delay_steps: tau, steps that are taken while an average is under way; below H / P.
      local_share: a, of the local parameters in what a fragment goes on from.
    """

    period: int = 100
    fragments: int = 2
    delay_steps: int = 1
    local_share: float = 0.5


class StreamingDiLoCo(OuterOptimization):
    """DiLoCo whose communication is spread out in time and overlapped with steps.

    A fragment is averaged every H steps, another one every H / P; tau steps later it goes on from
    a (local) + (1 - a) (outer). With one fragment, tau = 0 and a = 0 it is DiLoCo.

    References:
      arXiv 2501.18512, algorithm 2.
    """

    def __init__(
        self,
        optimizer: optax.GradientTransformation,
        streaming: Streaming,
        outer: optax.GradientTransformation,
    ):
        """Takes the inner optimizer, how fragments take turns, and the outer optimizer.

        Raises:
          ConfigError: more fragments than steps of a period, or delay_steps not below H / P.
        """
        super().__init__(optimizer, Rounds(streaming.period), outer, "streaming_diloco")
        every = streaming.period / streaming.fragments
        if every < 1:
            raise ConfigError(
                "streaming_diloco needs at least as many steps in a period as it has fragments, "
                f"got {streaming.period} and {streaming.fragments}; raise config.strategy.period"
            )
        if not streaming.delay_steps < every:
            raise ConfigError(
                "streaming_diloco needs delay_steps below period / fragments, "
                f"{every:g}, got {streaming.delay_steps}; lower config.strategy.delay_steps"
            )
        self._streaming = streaming

    def requests(self, event: SegmentUpdated, draws: Draws) -> tuple[Request, ...]:
        """An average of the fragment whose turn it is."""
        del draws
        period, fragments, delay, _ = self._streaming
        offset = (event.segment % fragments) * period // fragments
        if (event.step + 1) % period != offset:
            return ()
        return (AllReduce(event.segment, delay),)

    def receive(
        self, state: SegmentState, sent: PyTree | None, payload: PyTree, now: Array
    ) -> SegmentState:
        """One outer step from the fragment's anchor, mixed with what is here."""
        del sent, now
        share = self._streaming.local_share
        mixing = outer_step(self._outer, state.mixing, payload)
        params = jax.tree.map(
            lambda local, outer: share * local + (1 - share) * outer, state.params, mixing.anchor
        )
        return state._replace(params=params, mixing=mixing)
