"""Communication threads: nothing is lost, everybody stops, failures reach everybody.

All with real threads over the in-process transport, in float64; run_transport_suite.py repeats the
gossip under MPI.
"""

import threading

import gossip
import numpy as np
import pytest

from layup_jax.engine.port import Port
from layup_jax.errors import PeerFailedError, TransportError
from layup_jax.topology import complete, ring
from layup_jax.transport.base import Kind
from layup_jax.transport.communicator import CommunicationOptions
from layup_jax.transport.local import local_transports, run_threads
from layup_jax.transport.pacing import Pacing

pytestmark = pytest.mark.usefixtures("double")
MIXINGS = ["pairwise", "push_sum"]
# One-way messages mix more slowly: a worker that pushes twice in a row gives less the second time.
STEPS_TO_MEAN = {"pairwise": 80, "push_sum": 320}


def _run(
    scenario,
    size,
    port_types=None,
    topology=complete,
    watch=lambda transport: None,
    dtype="float32",
):
    parts = gossip.make_parts(scenario.mixing, size, topology, dtype)

    def work(transport):
        watch(transport)
        port_type = (port_types or {}).get(transport.rank, Port)
        return gossip.Member(transport, parts, scenario, port_type).run()

    return run_threads(local_transports(size), work, lambda: None)


def _patient(mixing, size, steps, **changes):
    """All workers take the same number of steps and wait until their requests are taken."""
    return gossip.Scenario(mixing, 3, (steps,) * size, (1.0,) * size, **changes)


def _random(seed, failing=False):
    """Any number of workers and steps, from never waiting to always, some without a step."""
    rng = np.random.default_rng(seed)
    size = int(rng.choice([2, 3, 4, 8]))
    steps = rng.integers(0, 25, size)
    if failing:
        steps = np.maximum(steps, 5)
    options = CommunicationOptions(
        share=float(rng.choice([1.0, 0.5])),
        sends_in_flight=int(rng.integers(1, 5)),
        idle_seconds=float(rng.choice([0.0005, 0.004])),
    )
    return size, gossip.Scenario(
        MIXINGS[seed % 2],
        seed,
        tuple(steps.tolist()),
        tuple(rng.choice([0.0, 0.3, 1.0], size).tolist()),
        failing=(int(rng.integers(size)), int(rng.integers(5))) if failing else None,
        options=options,
    )


@pytest.mark.parametrize("size", [2, 3, 4, 8])
@pytest.mark.parametrize("mixing", MIXINGS)
def test_without_updates_everybody_comes_to_the_initial_mean(mixing, size):
    outcomes = _run(_patient(mixing, size, STEPS_TO_MEAN[mixing], update_scale=0.0), size)
    gossip.assert_orderly_end(outcomes)
    gossip.assert_nothing_lost(outcomes)
    gossip.assert_all_at_the_initial_mean(outcomes)


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("mixing", MIXINGS)
def test_updates_and_messages_at_the_same_time_lose_nothing(mixing, size):
    outcomes = _run(_patient(mixing, size, steps=40), size)
    gossip.assert_orderly_end(outcomes)
    gossip.assert_nothing_lost(outcomes)
    assert min(outcome.statistics.messages_sent for outcome in outcomes) > 20


@pytest.mark.parametrize("mixing", ["pairwise", "a2cid2", "push_sum"])
def test_updates_and_narrow_messages_at_the_same_time_lose_nothing(mixing):
    """In an exchange both sides know what was sent, rounding included, so not even that is lost."""
    outcomes = _run(_patient(mixing, 4, steps=40), 4, dtype="bfloat16")
    gossip.assert_orderly_end(outcomes)
    if mixing == "push_sum":
        gossip.assert_narrow_pushes_lose_nothing_but_rounding(outcomes)
    else:
        gossip.assert_nothing_lost(outcomes)
    assert min(outcome.statistics.messages_sent for outcome in outcomes) > 20


@pytest.mark.parametrize("mixing", MIXINGS)
def test_only_neighbours_are_sent_to_when_others_are_busy_or_gone(mixing):
    """Workers of a ring that finish at different times, one push under way at most."""
    size, sent = 6, set()

    def watch(transport):
        send = transport.send

        def watched(peer, kind, *rest):
            if kind in (Kind.PUSH, Kind.PROPOSE):
                sent.add((transport.rank, peer))
            return send(peer, kind, *rest)

        transport.send = watched

    options = CommunicationOptions(sends_in_flight=1)
    steps = tuple(10 + 15 * rank for rank in range(size))
    scenario = gossip.Scenario(mixing, 5, steps, (0.3,) * size, options=options)
    outcomes = _run(scenario, size, topology=ring, watch=watch)
    gossip.assert_orderly_end(outcomes)
    gossip.assert_nothing_lost(outcomes)
    assert sent == {(rank, (rank + step) % size) for rank in range(size) for step in (-1, 1)}


def _nothing_is_lost(seed):
    size, scenario = _random(seed)
    outcomes = _run(scenario, size)
    gossip.assert_orderly_end(outcomes)
    gossip.assert_nothing_lost(outcomes)


@pytest.mark.parametrize("seed", range(20))
def test_random_runs_lose_nothing(seed):
    _nothing_is_lost(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20, 120))
def test_more_random_runs_lose_nothing(seed):
    _nothing_is_lost(seed)


def _failure_reaches_everybody(seed):
    size, scenario = _random(seed, failing=True)
    failing = scenario.failing[0]
    outcomes = _run(scenario, size)
    for rank, outcome in enumerate(outcomes):
        assert outcome.left == 0
        if rank != failing:
            assert isinstance(outcome.error, PeerFailedError)
            assert str(outcome.error).endswith("failed first")


@pytest.mark.parametrize("seed", range(10))
def test_a_failure_reaches_everybody(seed):
    _failure_reaches_everybody(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 60))
def test_more_failures_reach_everybody(seed):
    _failure_reaches_everybody(seed)


class FailsToSend(Port):
    """Its fifth vector cannot be had, warming up included."""

    sent = 0

    def outgoing(self, segment):
        self.sent += 1
        if self.sent == 5:
            raise MemoryError("no room for a vector")
        return super().outgoing(segment)


class FailsToReceive(Port):
    """Its fifth message cannot be merged, warming up included."""

    taken = 0

    def incoming(self, segment, sent, received):
        self.taken += 1
        if self.taken == 5:
            raise MemoryError("no room for a message")
        super().incoming(segment, sent, received)


@pytest.mark.parametrize("port_type", [FailsToSend, FailsToReceive])
@pytest.mark.parametrize("size", [2, 4])
def test_a_failing_communication_thread_stops_everybody(port_type, size):
    outcomes = _run(_patient("push_sum", size, steps=200), size, {1: port_type})
    kinds = [type(outcome.error) for outcome in outcomes]
    assert kinds == [MemoryError if rank == 1 else PeerFailedError for rank in range(size)]


def test_a_thread_that_fails_in_an_exchange_stops_everybody():
    """The peer would wait for its vector for ever; it learns of the failure, and gives up."""
    options = CommunicationOptions(stop_seconds=0.05)
    outcomes = _run(_patient("pairwise", 2, steps=200, options=options), 2, {1: FailsToSend})
    assert [type(outcome.error) for outcome in outcomes] == [PeerFailedError, MemoryError]


def test_a_worker_that_fails_does_not_wait_for_ever():
    """Nobody serves the other endpoint, so what it is sent is never taken."""
    endpoints = local_transports(2)
    options = CommunicationOptions(stop_seconds=0.05)
    scenario = gossip.Scenario("push_sum", 3, (5, 5), (0.0, 0.0), failing=(0, 2), options=options)
    outcome = gossip.Member(endpoints[0], gossip.make_parts("push_sum", 2), scenario).run()
    assert isinstance(outcome.error, TransportError)
    assert str(outcome.error).startswith("worker 0 stops after a failure, but the others did not ")


def test_requests_to_workers_that_have_finished_go_to_others():
    """Worker 0 never steps, so whatever is addressed to it late has to go elsewhere or nowhere."""
    scenario = gossip.Scenario("pairwise", 0, (0, 30, 30), (0.0, 1.0, 1.0))
    outcomes = _run(scenario, 3)
    gossip.assert_orderly_end(outcomes)
    gossip.assert_nothing_lost(outcomes)
    assert all(outcome.statistics.messages_sent > 20 for outcome in outcomes[1:])


def test_alone_it_starts_and_stops():
    outcomes = _run(_patient("push_sum", 1, steps=5), 1)
    gossip.assert_orderly_end(outcomes)
    gossip.assert_nothing_lost(outcomes)
    assert outcomes[0].statistics.asked == 0


def test_counts_what_it_does():
    counts = [each.statistics for each in _run(_patient("pairwise", 2, steps=10), 2)]
    assert counts[0].messages_sent == counts[1].messages_sent > 0
    assert counts[0].sent_bytes == counts[1].sent_bytes > 0
    assert counts[0].sent_bytes % 8 == 0  # float64
    assert all(count.asked == 30 for count in counts)
    assert all(count.coalesced == 0 for count in counts)
    assert all(count.thread_seconds > 0 for count in counts)


def test_counts_pushed_bytes():
    counts = [each.statistics for each in _run(_patient("push_sum", 2, steps=10), 2)]
    # Vectors of 3, 1 and 0 numbers, each with its weight, in float64. The worker that finishes last
    # has nobody left to send its last requests to.
    assert max(count.sent_bytes for count in counts) == 10 * 8 * (4 + 2 + 1)
    assert max(count.messages_sent for count in counts) == 30


@pytest.mark.parametrize("mixing", MIXINGS)
def test_pushes_are_paid_for_by_who_sends_them(monkeypatch, mixing):
    paid, taken = [], []

    class Watched(Pacing):
        def pay_receipt(self):
            paid.append(1)
            super().pay_receipt()

        def receipt(self):
            taken.append(1)
            return super().receipt()

    monkeypatch.setattr("layup_jax.transport.communicator.Pacing", Watched)
    counts = [each.statistics for each in _run(_patient(mixing, 3, steps=10), 3)]
    pushes = sum(count.messages_sent for count in counts) if mixing == "push_sum" else 0
    assert len(paid) == len(taken) == pushes
    assert mixing == "pairwise" or pushes > 0


def test_waiting_is_not_charged(monkeypatch):
    """Or a worker on crowded cores would spend its share on looking, and never ask for anything."""
    charged = []

    class Watched(Pacing):
        def work(self):
            charged.append(1)
            return super().work()

    monkeypatch.setattr("layup_jax.transport.communicator.Pacing", Watched)
    _run(_patient("pairwise", 1, steps=5), 1)
    assert charged == []


def test_the_thread_is_named_after_its_worker():
    names = []

    class Named(Port):
        def incoming(self, segment, sent, received):
            names.append(threading.current_thread().name)
            super().incoming(segment, sent, received)

    _run(_patient("pairwise", 2, steps=5), 2, {1: Named})
    assert set(names) == {"layup-compute-1", "layup-communication-1"}  # the first is warming up
