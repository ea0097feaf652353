"""Workers in memory, without model, store or transport: what a strategy asks for is performed at once.

network = Network(strategy, starts)                       # starts[rank][segment]
network.step(lambda rank, params: params - target)        # all update, then all communicate
network.parameters()                                      # (workers, segments, n)

The rules are those of `Worker`, `Merger` and `Collectives`: an average asked for at step s is merged
before the segment's forward pass of step s + 1 + due; what is due is merged before it is given again.
"""

from __future__ import annotations

import copy
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from layup_jax.draws import Draws
from layup_jax.strategies import Strategy
from layup_jax.testing.messages import Messages, mean
from layup_jax.types import (
    AllReduce,
    Array,
    BackgroundAverage,
    Collective,
    Exchange,
    Gossip,
    NeighbourGather,
    PyTree,
    Request,
    SegmentState,
    SegmentUpdated,
)

Gradient = Callable[[int, np.ndarray], np.ndarray]


class _Functions(NamedTuple):
    apply: Callable[..., tuple[SegmentState, Array]]
    send: Callable[..., tuple[SegmentState, PyTree]]
    take: Callable[..., SegmentState]
    weight: Callable[..., Array]
    mean: Callable[..., PyTree]


class _Delivery(NamedTuple):
    """Something under way to one worker."""

    rank: int
    segment: int
    sent: PyTree
    payload: PyTree


class _Open(NamedTuple):
    """A collective that one worker takes part in; `number` counts its averages."""

    request: Collective
    due_step: int
    sent: PyTree
    number: int


class Totals(NamedTuple):
    """Sums over workers, by segment, float64.

    Attributes:
      weights: (segments,) of the weights.
      parameters: (segments, n) of the parameters, each times its weight.
    """

    weights: np.ndarray
    parameters: np.ndarray


class Network:
    """Workers of some segments each; every segment is one vector, all of the same length.

    Attributes:
      states: by rank and segment.
      applied: by segment, (n,) sum of all changes by gradients, each times the weight it met.
    """

    def __init__(
        self,
        strategy: Strategy,
        starts: np.ndarray,
        *,
        held: int = 0,
        times: Callable[[np.random.Generator], int] = lambda rng: 1,
    ):
        """Takes the algorithm and where everybody starts.

        Args:
          strategy: one for all workers.
          starts: (workers, segments, n), of the precision that JAX is set to.
          held: gossip messages that are under way until later ones are; 0 delivers at once.
          times: how often a push, or both sides of an exchange, arrive: 0 loses, 2 doubles.
        """
        messages = Messages(strategy)
        self._strategy = strategy

        def apply(
            before: SegmentState, grads: Array, now: Array, applied: Array
        ) -> tuple[SegmentState, Array]:
            after = strategy.apply_gradient(before, grads, now)
            return after, applied + strategy.weight(before) * (after.params - before.params)

        self._functions = _Functions(
            jax.jit(apply),
            jax.jit(messages.send),
            jax.jit(messages.take),
            jax.jit(strategy.weight),
            jax.jit(mean),
        )
        self.states = [[strategy.init(jnp.asarray(x), ()) for x in worker] for worker in starts]
        self.applied = [jnp.zeros(starts.shape[2:]) for _ in starts[0]]
        self._held = held
        self._times = times
        self._rng = np.random.default_rng(0)
        self._steps = 0
        self._stopped: set[int] = set()
        self._flying: list[_Delivery] = []
        self._open = [[deque[_Open]() for _ in worker] for worker in starts]
        self._given: dict[tuple[int, int, int], deque[PyTree]] = defaultdict(deque)
        self._sums: list[tuple[int, dict[int, PyTree]]] = []
        self._started = [0] * len(starts)

    def step(self, gradient: Gradient, now: float = 0.0) -> None:
        """One training step of all that have not stopped: all update, then all communicate.

        Args:
          gradient: (rank, parameters) -> gradient.
          now: the time, which does not run before.
        """
        ranks = [rank for rank in range(len(self.states)) if rank not in self._stopped]
        for rank in ranks:
            self._train(rank, gradient, now)
        for segment in reversed(range(len(self.states[0]))):
            for rank in ranks:
                event = SegmentUpdated(segment, self._steps)
                for request in self._requests(event, rank):
                    self._perform(rank, request, now)
        self._steps += 1

    def _requests(self, event: SegmentUpdated, rank: int) -> tuple[Request, ...]:
        """What the strategy asks for; averages in the background take a step to arrive."""
        if self._strategy.asks is BackgroundAverage:
            return (AllReduce(event.segment, due=1),)
        return self._strategy.requests(event, Draws(0, rank))

    def stop(self, rank: int) -> None:
        """This worker takes no step any more, and asks for nothing."""
        self._stopped.add(rank)

    def finished(self, now: float = 0.0) -> Network:
        """What there would be if all stopped now: everything under way is merged. This one goes on."""
        shared = {id(each): each for each in (self._strategy, self._functions, self._times)}
        other = copy.deepcopy(self, shared)
        other._stopped = set(range(len(self.states)))
        other._finish(now)
        return other

    def parameters(self) -> np.ndarray:
        """(workers, segments, n)."""
        return np.array([[np.asarray(state.params) for state in worker] for worker in self.states])

    def weights(self) -> np.ndarray:
        """(workers, segments), float32."""
        weight = self._functions.weight
        return np.array([[float(weight(state)) for state in worker] for worker in self.states])

    def totals(self) -> Totals:
        """Without what is under way."""
        weights, params = self.weights().astype(float), self.parameters().astype(float)
        return Totals(weights.sum(axis=0), (weights[..., None] * params).sum(axis=0))

    def _train(self, rank: int, gradient: Gradient, now: float) -> None:
        segments = range(len(self.states[rank]))
        for segment in segments:
            self._settle(rank, segment, self._steps, now)
        grads = [gradient(rank, np.asarray(state.params)) for state in self.states[rank]]
        for segment in reversed(segments):
            self.states[rank][segment], self.applied[segment] = self._functions.apply(
                self.states[rank][segment], grads[segment], now, self.applied[segment]
            )

    def _perform(self, rank: int, request: Request, now: float) -> None:
        if isinstance(request, AllReduce | NeighbourGather):
            self._settle(rank, request.segment, self._steps + 1, now)
            self._take_part(rank, request, self._send(rank, request.segment, now))
        else:
            self._gossip(rank, request, now)
            self._deliver(self._held, now)

    def _send(self, rank: int, segment: int, now: float) -> PyTree:
        state, payload = self._functions.send(self.states[rank][segment], now)
        self.states[rank][segment] = state
        return payload

    def _take(self, rank: int, segment: int, sent: PyTree, payload: PyTree, now: float) -> None:
        state = self.states[rank][segment]
        self.states[rank][segment] = self._functions.take(state, sent, payload, now)

    def _gossip(self, rank: int, request: Gossip, now: float) -> None:
        segment, peer = request.segment, request.peer
        mine = self._send(rank, segment, now)
        if isinstance(request, Exchange):
            theirs = self._send(peer, segment, now)
            sides = [
                _Delivery(rank, segment, mine, theirs),
                _Delivery(peer, segment, theirs, mine),
            ]
        else:
            sides = [_Delivery(peer, segment, None, mine)]
        self._flying += sides * self._times(self._rng)

    def _deliver(self, held: int, now: float) -> None:
        """Some of what is under way arrives, in any order, until so much of it is left."""
        while len(self._flying) > held:
            each = self._flying.pop(int(self._rng.integers(len(self._flying))))
            self._take(each.rank, each.segment, each.sent, each.payload, now)

    def _take_part(self, rank: int, request: Collective, payload: PyTree) -> None:
        number, due_step = self._started[rank], self._steps + 1 + request.due
        self._open[rank][request.segment].append(_Open(request, due_step, payload, number))
        if isinstance(request, NeighbourGather):
            for target in request.targets:
                self._given[rank, target, request.segment].append(payload)
            return
        if number == len(self._sums):
            self._sums.append((request.segment, {}))
        segment, contributions = self._sums[number]
        assert segment == request.segment, (
            f"all workers must ask for averages in the same order: worker {rank} asks for one of "
            f"segment {request.segment} where another one asks for one of segment {segment}"
        )
        contributions[rank] = payload
        self._started[rank] += 1

    def _settle(self, rank: int, segment: int, step: int, now: float) -> None:
        waiting = self._open[rank][segment]
        while waiting and waiting[0].due_step <= step:
            self._merge(rank, waiting.popleft(), now)

    def _merge(self, rank: int, each: _Open, now: float) -> None:
        if isinstance(each.request, AllReduce):
            self._average(rank, each.number, now)
            return
        segment = each.request.segment
        for source in each.request.sources:
            given = self._given[source, rank, segment]
            if given:
                self._take(rank, segment, each.sent, given.popleft(), now)
            else:
                self._require_stopped(rank, [source])

    def _average(self, rank: int, number: int, now: float) -> None:
        segment, contributions = self._sums[number]
        missing = [each for each in range(len(self.states)) if each not in contributions]
        self._require_stopped(rank, missing)
        average = self._functions.mean(list(contributions.values()))
        self._take(rank, segment, None, average, now)

    def _require_stopped(self, rank: int, others: Sequence[int]) -> None:
        for other in others:
            assert other in self._stopped, (
                f"worker {rank} waits at step {self._steps} for what worker {other} never gives it: "
                "the requests of the two do not agree"
            )

    def _finish(self, now: float) -> None:
        self._deliver(0, now)
        for rank, worker in enumerate(self._open):
            for waiting in worker:
                while waiting:
                    self._merge(rank, waiting.popleft(), now)
            for number in range(self._started[rank], len(self._sums)):
                self._average(rank, number, now)
        if self._strategy.weighted:
            self._take_leftovers(now)

    def _take_leftovers(self, now: float) -> None:
        """What neighbours gave to workers that had stopped."""
        for (_, target, segment), given in self._given.items():
            while given:
                self._take(target, segment, None, given.popleft(), now)


def nothing(rank: int, params: np.ndarray) -> np.ndarray:
    """No gradient."""
    return np.zeros(params.shape, np.float32)


def noise(seed: int) -> Gradient:
    """Gradients drawn at random, whatever the parameters."""
    rng = np.random.default_rng(seed)
    return lambda rank, params: rng.normal(size=params.shape).astype(np.float32)


def starting_points(num_workers: int, *, equal: bool = False, segments: int = 2) -> np.ndarray:
    """(workers, segments, 3) numbers of order 1; the same for all workers if `equal`."""
    points = np.random.default_rng(7).normal(size=(num_workers, segments, 3))
    return np.broadcast_to(points[:1], points.shape) if equal else points
