"""Checks of what a strategy asks for: a function of the event, and one that all workers agree on."""

from __future__ import annotations

import optax

from layup_jax.draws import Draws
from layup_jax.strategies import Strategy
from layup_jax.testing.kinds import WORKERS, Make
from layup_jax.types import (
    AllReduce,
    Exchange,
    NeighbourGather,
    Push,
    Request,
    SegmentUpdated,
)

_SEGMENTS, _STEPS = 3, 50
_EVENTS = [SegmentUpdated(segment, step) for step in range(_STEPS) for segment in range(_SEGMENTS)]


def _made(make: Make, num_workers: int = WORKERS) -> Strategy:
    return make(optax.sgd(0.1), num_workers)


def _partners(request: Request) -> tuple[int, ...]:
    if isinstance(request, Push | Exchange):
        return (request.peer,)
    return (*request.targets, *request.sources) if isinstance(request, NeighbourGather) else ()


def asks_about_the_segment_just_updated(make: Make) -> None:
    """All requests are of the promised kind, about that segment, and to other workers."""
    strategy = _made(make)
    for rank in range(WORKERS):
        others = set(range(WORKERS)) - {rank}
        for event in _EVENTS:
            for request in strategy.requests(event, Draws(0, rank)):
                what = f"{request} by worker {rank} after {event}"
                assert type(request) is strategy.asks, f"{what} must be of the kind `asks`"
                assert request.segment == event.segment, f"{what} must be about that segment"
                partners = _partners(request)
                assert set(partners) <= others, f"{what} must be to others of {WORKERS} workers"
                if not isinstance(request, Push | Exchange):
                    assert request.due >= 0, f"{what} must not be due before it is asked for"
                if isinstance(request, NeighbourGather):
                    assert len({*request.targets}) == len(request.targets), f"{what} gives twice"
                    assert len({*request.sources}) == len(request.sources), f"{what} takes twice"


def asks_neighbours_only(make: Make) -> None:
    """Whoever is sent to is a neighbour on the strategy's topology, if it has one."""
    strategy = _made(make)
    topology = strategy.topology
    if topology is None:
        return
    for rank in range(WORKERS):
        for event in _EVENTS:
            for request in strategy.requests(event, Draws(0, rank)):
                given = request.targets if isinstance(request, NeighbourGather) else None
                strangers = {*(given or _partners(request))} - {*topology.neighbours(rank)}
                assert not strangers, f"{request} by worker {rank} must be to neighbours only"


def asks_for_each_exchange_in_a_lane_of_its_own(make: Make) -> None:
    """Requests of one event do not replace one another."""
    strategy = _made(make)
    for event in _EVENTS:
        requests = strategy.requests(event, Draws(0, 1))
        lanes = [each.lane for each in requests if isinstance(each, Push | Exchange)]
        assert len({*lanes}) == len(lanes), f"{requests} must be in different lanes"
        assert all(lane >= 0 for lane in lanes), f"lanes of {requests} must not be negative"


def asks_the_same_of_the_same_event(make: Make) -> None:
    """Asked again, in another order, or of another object, it answers alike."""
    strategy, draws = _made(make), Draws(3, 1)
    asked = [strategy.requests(event, draws) for event in _EVENTS]
    for other in (strategy, _made(make)):
        again = [other.requests(event, draws) for event in reversed(_EVENTS)]
        assert again[::-1] == asked, "requests must be a function of the event and of draws"


def finds_nobody_to_ask_when_alone(make: Make) -> None:
    """One worker talks to nobody; it may take part in averages of its own."""
    strategy = _made(make, 1)
    for event in _EVENTS:
        for request in strategy.requests(event, Draws(0, 0)):
            assert isinstance(request, AllReduce), f"a single worker asks for {request}"


def agrees_between_workers(make: Make) -> None:
    """All ask for the same averages in the same order; who gives to one is waited for by that one."""
    strategy = _made(make)
    for event in _EVENTS:
        asked = [strategy.requests(event, Draws(0, rank)) for rank in range(WORKERS)]
        averages = [[each for each in one if isinstance(each, AllReduce)] for one in asked]
        assert all(each == averages[0] for each in averages), (
            f"all workers must ask for the same averages after {event}, got {averages}"
        )
        given, taken = [], []
        for rank, requests in enumerate(asked):
            for each in requests:
                if isinstance(each, NeighbourGather):
                    given += [(rank, target) for target in each.targets]
                    taken += [(source, rank) for source in each.sources]
        assert sorted(given) == sorted(taken), (
            f"the (source, target) pairs of targets and of sources must agree after {event}, "
            f"got {sorted(given)} and {sorted(taken)}"
        )


def is_due_in_the_order_of_asking(make: Make) -> None:
    """What a segment asks for later is not due before what it asked for earlier."""
    strategy = _made(make)
    for segment in range(_SEGMENTS):
        due = []
        for step in range(_STEPS):
            requests = strategy.requests(SegmentUpdated(segment, step), Draws(0, 1))
            collectives = [each for each in requests if not isinstance(each, Push | Exchange)]
            due += [step + each.due for each in collectives]
        assert due == sorted(due), f"segment {segment} asks for collectives due at steps {due}"


CHECKS = (
    asks_about_the_segment_just_updated,
    asks_neighbours_only,
    asks_for_each_exchange_in_a_lane_of_its_own,
    asks_the_same_of_the_same_event,
    finds_nobody_to_ask_when_alone,
    agrees_between_workers,
    is_due_in_the_order_of_asking,
)
