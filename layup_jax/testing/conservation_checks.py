"""Checks that communication loses nothing and makes nothing up; `kinds` says of which methods it must."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import optax

from layup_jax.strategies import Strategy
from layup_jax.testing.comparison import require_close
from layup_jax.testing.kinds import WORKERS, Make, gossips, make_network, passes_messages
from layup_jax.testing.messages import Messages
from layup_jax.testing.network import Gradient, Network, Totals, noise, nothing, starting_points
from layup_jax.types import NeighbourGather, SegmentState

_STEPS = 12
_ROUNDING = 1e-6  # of numbers of order 1, merged some dozen times


def _without_gradients(make: Make) -> Strategy:
    return make(optax.sgd(0.0), WORKERS)


def _require_kept(found: Totals, expected: Totals, what: str) -> None:
    require_close(found.weights, expected.weights, f"weights must add up {what}", rtol=1e-6)
    require_close(
        found.parameters,
        expected.parameters,
        f"the weighted sum must be kept {what}",
        atol=_ROUNDING,
    )


def keeps_the_weighted_sum(make: Make) -> None:
    """Without gradients no communication changes the sum over workers, what is under way included."""
    network = make_network(_without_gradients(make))
    start = network.totals()
    for step in range(_STEPS):
        network.step(nothing)
        _require_kept(network.finished().totals(), start, f"after step {step}")


def stays_put_where_all_agree(make: Make) -> None:
    """Without gradients, workers that start equal stay where they are."""
    start = starting_points(WORKERS, equal=True)
    network = Network(_without_gradients(make), start)
    for step in range(_STEPS):
        network.step(nothing, now=float(step))
    for each in (network, network.finished(float(_STEPS))):
        require_close(each.parameters(), start, "equal workers must stay put", atol=_ROUNDING)


def survives_lost_and_doubled_messages(make: Make) -> None:
    """Gossip of equal workers stays harmless whatever becomes of it: finite, and where it was.

    A transport loses and doubles nothing; a worker that fails in the middle of a message does.
    """
    strategy = _without_gradients(make)
    if not gossips(strategy):
        return
    start = starting_points(WORKERS, equal=True)
    network = Network(strategy, start, held=3, times=lambda rng: int(rng.integers(3)))
    for _ in range(_STEPS):
        network.step(nothing)
    finished = network.finished()
    require_close(finished.parameters(), start, "equal workers must stay put", atol=_ROUNDING)
    weights = finished.weights()
    well = (np.isfinite(weights) & (weights > 0)).all()
    assert well, f"weights must stay positive, got {weights}"


def loses_nothing_of_what_is_late(make: Make) -> None:
    """Messages may come late, in any order, and after updates: all that gradients added is kept."""
    strategy = make(optax.sgd(0.1), WORKERS)
    if not passes_messages(strategy):
        return
    network = make_network(strategy, held=5)
    start = network.totals()
    _require_kept(*_trained(network, start, noise(1)), "where messages come late")


def loses_nothing_where_workers_stop(make: Make) -> None:
    """Workers may stop at different steps: what weights travel with is kept all the same.

    An average is then one over those that go on, and reaches those that have stopped as well.
    """
    strategy = make(optax.sgd(0.1), WORKERS)
    network = make_network(strategy, held=2)
    found, expected = _trained(network, network.totals(), noise(2), stops={3: 3, 4: 0, 8: 2})
    assert np.isfinite(found.parameters).all(), "parameters must stay finite"
    if strategy.weighted:
        _require_kept(found, expected, "where workers stop")


def _trained(
    network: Network, start: Totals, gradient: Gradient, stops: dict[int, int] | None = None
) -> tuple[Totals, Totals]:
    """What workers hold together after some steps, and should hold; `stops` has ranks by step."""
    for step in range(_STEPS):
        network.step(gradient)
        if stops and step in stops:
            network.stop(stops[step])
    expected = start._replace(parameters=start.parameters + np.array(network.applied))
    return network.finished().totals(), expected


def loses_nothing_by_giving(make: Make) -> None:
    """Giving changes no parameters; with weights, receivers gain what the sender loses.

    So an exchange that comes to nothing leaves no trace, and nothing counts twice while under way.
    """
    strategy = make(optax.sgd(0.1), WORKERS)
    if not passes_messages(strategy):
        return
    messages, now = Messages(strategy), jnp.asarray(0.0)
    points = jnp.asarray(starting_points(2), jnp.float32)
    state, other = (strategy.init(each[0], ()) for each in points)
    after, payload = messages.send(state, now)
    require_close(after.params, state.params, "giving must not change the parameters")
    again, _ = messages.send(after, now)
    require_close(again.params, state.params, "giving twice must not change them either")
    if not strategy.weighted:
        require_close(strategy.weight(after), 1.0, "giving must not change the weight")
        return

    def mass(each: SegmentState) -> np.ndarray:
        return float(strategy.weight(each)) * np.append(np.asarray(each.params, float), 1)

    met = messages.take(other, None, payload, now)
    lost, gained = mass(state) - mass(after), _num_receivers(strategy) * (mass(met) - mass(other))
    require_close(gained, lost, "receivers must gain what the sender loses", atol=_ROUNDING)


def _num_receivers(strategy: Strategy) -> int:
    """How many workers get one and the same payload."""
    if strategy.asks is not NeighbourGather or strategy.topology is None:
        return 1
    return len(strategy.topology.targets(0, 0))


CHECKS = (
    keeps_the_weighted_sum,
    stays_put_where_all_agree,
    survives_lost_and_doubled_messages,
    loses_nothing_of_what_is_late,
    loses_nothing_where_workers_stop,
    loses_nothing_by_giving,
)
