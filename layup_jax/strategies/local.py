"""Training without communication: what all communication is measured against."""

from __future__ import annotations

from layup_jax.draws import Draws
from layup_jax.strategies.base import OptaxStrategy
from layup_jax.types import Array, PyTree, Request, SegmentState, SegmentUpdated


class Local(OptaxStrategy):
    """Every worker trains alone, with the same engine as everything else.

    With the partition `model` the whole step is one jitted call with donated arguments: that is the
    algorithm `fused`, the physical limit of a training step on the machine.
    """

    def __init__(self, optimizer, name: str = "local"):
        """Takes an optax transformation, and the name to report."""
        super().__init__(optimizer)
        self.name = name

    def requests(self, event: SegmentUpdated, draws: Draws) -> tuple[Request, ...]:
        """Nothing, ever."""
        del event, draws
        return ()

    def receive(
        self, state: SegmentState, sent: PyTree | None, payload: PyTree, now: Array
    ) -> SegmentState:
        """Never called by the worker; ignores what arrived."""
        del sent, payload, now
        return state
