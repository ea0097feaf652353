"""LocalSGD: train alone, average parameters every H steps; with H = 1 at first it is post-local SGD."""

from __future__ import annotations

from typing import NamedTuple

import optax

from layup_jax.draws import Draws
from layup_jax.strategies.base import OptaxStrategy
from layup_jax.types import AllReduce, Array, PyTree, Request, SegmentState, SegmentUpdated


class Rounds(NamedTuple):
    """When workers meet.

    Attributes:
      period: H, steps from one average to the next, at least 1.
      local_from: step before which every step is followed by an average; 0 for none.
    """

    period: int
    local_from: int = 0

    def ends_with(self, step: int) -> bool:
        """Whether a round ends with this step, counted from 0."""
        return step < self.local_from or (step + 1 - self.local_from) % self.period == 0


class Averaging(OptaxStrategy):
    """What all methods share that train alone for some steps and then average the parameters."""

    asks = AllReduce
    mixing = "all_reduce"
    _due = 0

    def __init__(self, optimizer: optax.GradientTransformation, rounds: Rounds):
        """Takes the inner optimizer, whose state each worker keeps to itself, and when to average."""
        super().__init__(optimizer)
        self._rounds = rounds

    def requests(self, event: SegmentUpdated, draws: Draws) -> tuple[Request, ...]:
        """An average at the end of each round."""
        del draws
        if not self._rounds.ends_with(event.step):
            return ()
        return (AllReduce(event.segment, self._due),)


class LocalSGD(Averaging):
    """Averages the parameters every H steps; the next forward pass waits for the mean.

    References:
      LocalSGD, arXiv 1805.09767; post-local SGD, arXiv 1808.07217.
    """

    name = "local_sgd"

    def receive(
        self, state: SegmentState, sent: PyTree | None, payload: PyTree, now: Array
    ) -> SegmentState:
        """The mean replaces the parameters."""
        del sent, now
        return state._replace(params=payload)
