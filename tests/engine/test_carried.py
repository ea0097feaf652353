"""What a step does to model state while others write it: its change, and never a negative variance."""

import jax.numpy as jnp
import numpy as np

from layup_jax.engine.carried import Carried
from layup_jax.types import SegmentState


def _statistics(mean, variance, count):
    return {"mean": jnp.array([mean]), "var": jnp.array([variance]), "count": jnp.array(count)}


def _onto(live, before, after):
    state = Carried(before, after).onto(SegmentState({"x": jnp.ones(1)}, (), live, ()))
    return {name: np.ravel(leaf).tolist() for name, leaf in state.model_state.items()}


def test_where_nobody_wrote_the_step_leaves_what_it_computed():
    before, after = _statistics(1.0, 2.0, 3), _statistics(5.0, 7.0, 4)
    state = Carried(before, after).onto(SegmentState((), (), before, ()))
    assert state.model_state is after


def test_where_others_wrote_its_change_is_added_to_theirs():
    before, after = _statistics(1.0, 2.0, 3), _statistics(1.5, 2.25, 4)
    live = _statistics(8.0, 6.0, 9)
    assert _onto(live, before, after) == {"mean": [8.5], "var": [6.25], "count": [4]}


def test_a_mean_may_become_negative_and_a_variance_not():
    before, after = _statistics(0.0, 5.0, 0), _statistics(-3.0, 1.0, 1)
    live = _statistics(-1.0, 2.0, 0)
    assert _onto(live, before, after) == {"mean": [-4.0], "var": [1.0], "count": [1]}


def test_two_steps_in_either_order_leave_the_same():
    start = _statistics(1.0, 4.0, 0)
    steps = [Carried(start, _statistics(2.0, 4.5, 1)), Carried(start, _statistics(0.5, 5.0, 1))]
    results = []
    for order in (steps, steps[::-1]):
        state = SegmentState((), (), start, ())
        for step in order:
            state = step.onto(state)
        results.append([float(state.model_state[name][0]) for name in ("mean", "var")])
    assert results == [[1.5, 5.5]] * 2
