"""Workers that gossip without training: store, port and communication thread, and no model.

    outcomes = run_threads(local_transports(4), lambda transport: gossip(transport, scenario), ...)

Each worker adds random updates to its segments and asks for communication after each, as fast as it
can or only once the request before was taken. A scenario is a function of its seed and of the rank, so
the same runs on threads and under MPI.
"""

import threading
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import optax

from layup_jax.draws import Draws
from layup_jax.engine.port import Port
from layup_jax.engine.wire import Wire, WireOptions
from layup_jax.store import ParameterStore
from layup_jax.strategies import LayUpOptions, layup
from layup_jax.strategies.a2cid2 import A2CiD2
from layup_jax.topology import complete
from layup_jax.transport.communicator import (
    CommunicationOptions,
    CommunicationStatistics,
    Communicator,
)
from layup_jax.transport.outbox import Outbox
from layup_jax.types import Exchange, SegmentUpdated

SIZES = (3, 1, 0)  # of the segments; a layer without parameters makes an empty one
_LOOK_SECONDS = 0.01


class Scenario(NamedTuple):
    """What happens in one run.

    Attributes:
      mixing: pairwise or push_sum.
      seed: of everything random.
      steps: of each worker, by rank.
      patience: by rank, the probability that a worker waits after a step until its requests are taken.
      update_scale: of the random updates; 0 makes none.
      failing: (rank, step) at which a worker fails.
      options: of the communication threads.
    """

    mixing: str
    seed: int
    steps: tuple[int, ...]
    patience: tuple[float, ...]
    update_scale: float = 1.0
    failing: tuple[int, int] | None = None
    options: CommunicationOptions = CommunicationOptions()


class Outcome(NamedTuple):
    """What one worker has at the end; arrays by segment.

    Attributes:
      start: initial parameters.
      end: final parameters.
      weights: final weights in the mean.
      applied: sum of all updates, each times the weight it met.
      error: of the communication thread.
      left: requests that were never served.
      statistics: of the communication thread.
    """

    start: list[np.ndarray]
    end: list[np.ndarray]
    weights: list[float]
    applied: list[np.ndarray]
    error: BaseException | None
    left: int
    statistics: CommunicationStatistics


class Stopped:
    """A clock that does not go."""

    def now(self):
        return 0.0


class WatchedOutbox(Outbox):
    """An outbox that can be waited for."""

    def __init__(self):
        super().__init__()
        self._taken = threading.Condition()

    def take(self):
        group = super().take()
        with self._taken:
            self._taken.notify_all()
        return group

    def wait_until_taken(self, gave_up):
        """Returns once there is nothing to take, or when `gave_up` says so."""
        with self._taken:
            while len(self) and not gave_up():
                self._taken.wait(_LOOK_SECONDS)


class Parts(NamedTuple):
    """What the workers of one process share: compiled functions."""

    strategy: object
    wire: Wire


def make_parts(mixing, size, topology=complete, dtype="float32"):
    """`mixing` is a rule of LayUp's, or a2cid2; `dtype` of what is on the wire."""
    graph = topology(size)
    if mixing == "a2cid2":
        strategy = A2CiD2(optax.sgd(0.0), graph, rate=2.0)
    else:
        strategy = layup(optax.sgd(0.0), graph, LayUpOptions(mixing, peer_per="segment"))
    return Parts(strategy, Wire(strategy, options=WireOptions(dtype)))


class Member:
    """One worker: what `Worker` is to training, this is to gossip."""

    def __init__(self, transport, parts, scenario, port_type=Port):
        self._rng = np.random.default_rng([scenario.seed, transport.rank])
        self.start = [self._rng.normal(size=size) for size in SIZES]
        self._draws = Draws(scenario.seed, transport.rank)
        self._strategy = parts.strategy
        states = [parts.strategy.init(jnp.asarray(start), ()) for start in self.start]
        self.store = ParameterStore(states)
        self.outbox = WatchedOutbox()
        self._port = port_type(self.store, parts.wire, Stopped())
        neighbours = parts.strategy.topology.neighbours(transport.rank)
        self.communicator = Communicator(
            transport, self._port, self.outbox, scenario.options, neighbours
        )
        self.applied = [np.zeros(size) for size in SIZES]
        self._scenario = scenario
        self._transport = transport

    def run(self):
        """Starts, steps and finishes."""
        self._port.warm_up(self._transport.prepare if self._strategy.asks is Exchange else None)
        self.store.restart(self._strategy.init(jnp.asarray(start), ()) for start in self.start)
        self.communicator.start()
        failed = self._step_to_the_end()
        self.communicator.finish(failed=failed)
        return self._outcome()

    def _step_to_the_end(self):
        for step in range(self._scenario.steps[self._transport.rank]):
            if (
                self._scenario.failing == (self._transport.rank, step)
                or self.communicator.error is not None
            ):
                return True
            self._step(step)
            if self._rng.random() < self._scenario.patience[self._transport.rank]:
                self.outbox.wait_until_taken(lambda: self.communicator.error is not None)
        return self.communicator.error is not None

    def _step(self, step):
        for segment in reversed(range(len(SIZES))):
            if self._scenario.update_scale:
                self._update(segment)
            for request in self._strategy.requests(SegmentUpdated(segment, step), self._draws):
                self.outbox.put(request)

    def _update(self, segment):
        amount = self._scenario.update_scale * self._rng.normal(size=SIZES[segment])

        def write(state):
            met = float(self._strategy.weight(state))
            return state._replace(params=state.params + amount), met

        weight, _ = self.store.update(segment, write)
        self.applied[segment] += weight * amount

    def _outcome(self):
        states = self.store.snapshot()
        return Outcome(
            self.start,
            [np.asarray(state.params) for state in states],
            [float(self._strategy.weight(state)) for state in states],
            self.applied,
            self.communicator.error,
            len(self.outbox),
            self.communicator.statistics(),
        )


def assert_nothing_lost(outcomes):
    """Weights add up to the number of workers, and parameters to what was there and was added."""
    for segment in range(len(SIZES)):
        weights = [outcome.weights[segment] for outcome in outcomes]
        np.testing.assert_allclose(sum(weights), len(outcomes), rtol=1e-6)
        found = sum(w * o.end[segment] for w, o in zip(weights, outcomes, strict=True))
        expected = sum(o.start[segment] + o.applied[segment] for o in outcomes)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def assert_narrow_pushes_lose_nothing_but_rounding(outcomes):
    """All weights, and the weighted sums to within what the pushes may have been rounded by."""
    for segment in range(len(SIZES)):
        weights = [outcome.weights[segment] for outcome in outcomes]
        np.testing.assert_allclose(sum(weights), len(outcomes), rtol=1e-6)
        found = sum(w * o.end[segment] for w, o in zip(weights, outcomes, strict=True))
        expected = sum(o.start[segment] + o.applied[segment] for o in outcomes)
        pushes = sum(outcome.statistics.messages_sent for outcome in outcomes)
        largest = max(np.abs(o.end[segment]).max(initial=1.0) for o in outcomes)
        # A push changes the sum by its weight, of 1/2 on average, times two errors of 2^-9 of a value.
        np.testing.assert_allclose(found, expected, rtol=0, atol=pushes * largest * 2.0**-9)


def assert_all_at_the_initial_mean(outcomes):
    for segment in range(len(SIZES)):
        mean = np.mean([outcome.start[segment] for outcome in outcomes], axis=0)
        for outcome in outcomes:
            np.testing.assert_allclose(outcome.end[segment], mean, rtol=1e-6, atol=1e-6)


def assert_orderly_end(outcomes):
    """No errors, nothing left to serve, and every message sent was received."""
    assert [outcome.error for outcome in outcomes] == [None] * len(outcomes)
    assert [outcome.left for outcome in outcomes] == [0] * len(outcomes)
    counts = [outcome.statistics for outcome in outcomes]
    assert sum(c.messages_sent for c in counts) == sum(c.messages_received for c in counts)
