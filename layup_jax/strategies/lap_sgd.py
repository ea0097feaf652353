"""LAP-SGD's averager: parameters are averaged over workers in the background, and no update is lost.

b = copy(x)                                payload: what is contributed, kept beside the parameters
s = mean over workers of b                 while all go on
x += s - b                                 receive: updates made since the copy stay whole
"""

from __future__ import annotations

import jax

from layup_jax.draws import Draws
from layup_jax.strategies.base import OptaxStrategy
from layup_jax.types import (
    Array,
    BackgroundAverage,
    PyTree,
    Request,
    SegmentState,
    SegmentUpdated,
)


class LAPSGD(OptaxStrategy):
    """Locally asynchronous parallel SGD: threads update one parameter set, an averager joins workers.

    What the threads are is the schedule's business: `shared` gives LAP-SGD and LPP-SGD, `decoupled`
    PD-ASGD with this averager between workers.

    References:
      arXiv 2203.06638, the averager of its LAP-SGD; the code is at github.com/bapi/LPP-SGD. Differs from
      it: segments are averaged in turn rather than all at once, so each is fresher.
    """

    asks = BackgroundAverage
    mixing = "average"

    def __init__(self, optimizer, name: str = "lap_sgd"):
        """Takes an optax transformation, and the name to report."""
        super().__init__(optimizer)
        self.name = name

    def requests(self, event: SegmentUpdated, draws: Draws) -> tuple[Request, ...]:
        """Nothing: averages are served without being asked for."""
        del event, draws
        return ()

    def init_mixing(self, params: PyTree) -> PyTree:
        """What was contributed last: the parameters themselves."""
        return jax.tree.map(lambda leaf: leaf, params)

    def payload(self, state: SegmentState, now: Array) -> tuple[SegmentState, PyTree]:
        """The parameters, which are kept to be compared with."""
        del now
        return state._replace(mixing=state.params), state.params

    def receive(
        self, state: SegmentState, sent: PyTree | None, payload: PyTree, now: Array
    ) -> SegmentState:
        """Moves by what the mean differs from what was contributed."""
        del sent, now
        params = jax.tree.map(
            lambda x, mean, given: x + (mean - given), state.params, payload, state.mixing
        )
        return state._replace(params=params)
