"""MFU by arithmetic; time by cause, updates taken out of the passes that they are fused into."""

import itertools

import optax
import pytest
import tiny

from layup_jax import costs
from layup_jax.clock import WallClock
from layup_jax.costs import Costs, measure_costs, split, utilization
from layup_jax.engine.engine import Engine, Moment
from layup_jax.metrics import TIME_CAUSES
from layup_jax.pipeline import stopwatch
from layup_jax.pipeline.base import Parts, Work
from layup_jax.pipeline.decoupled import Decoupled, DecoupledOptions
from layup_jax.pipeline.interleaved import Interleaved
from layup_jax.pipeline.ratio import Ratio
from layup_jax.pipeline.shared import Shared, SharedOptions
from layup_jax.store import ParameterStore
from layup_jax.strategies import Local
from layup_jax.task import Task

COSTS = Costs(flops=100.0, samples=4, update_share=0.25, turned_share=0.1)


def test_utilization_is_the_share_of_what_could_have_been_done():
    assert utilization(50.0, 2.0, 100.0) == 0.25
    assert utilization(50.0, 2.0, None) is None
    assert utilization(0.0, 0.0, 100.0) is None


def test_updates_come_out_of_the_passes_they_are_in():
    spent = {"forward": 2.0, "turn": 2.0, "backward": 4.0, "data": 1.0}
    seconds = split(spent, COSTS, 2)
    assert tuple(seconds) == TIME_CAUSES
    assert sum(seconds.values()) == pytest.approx(9 / 2)
    assert seconds["update"] == pytest.approx(0.25 * 8 / 2)
    assert seconds["turn"] == pytest.approx((2 - 0.1 * 2) / 2)
    assert seconds["backward"] == pytest.approx((4 - 0.9 * 2) / 2)
    assert (seconds["forward"], seconds["data"], seconds["waiting"]) == (1.0, 0.5, 0.0)


def test_without_a_turn_all_updates_are_in_backward_passes():
    seconds = split({"forward": 2.0, "backward": 6.0}, COSTS, 1)
    assert (seconds["backward"], seconds["update"], seconds["turn"]) == (4.0, 2.0, 0.0)


def test_no_cause_becomes_negative_and_no_steps_are_no_failure():
    seconds = split({"forward": 9.0, "backward": 1.0}, COSTS._replace(update_share=1.0), 0)
    assert (seconds["backward"], seconds["update"]) == (0.0, 1.0)
    assert set(split({}, COSTS._replace(update_share=None), 0).values()) == {0.0}


def _make(kind, parts):
    if kind == "interleaved":
        return Interleaved(parts)
    if kind == "decoupled":
        return Decoupled(parts, DecoupledOptions(Ratio(1, 1, 1)))
    return Shared(parts, SharedOptions(1))


@pytest.fixture
def bench():
    model, optimizer = tiny.mlp_model(3), optax.sgd(0.1, momentum=0.9)
    engine = Engine(model, [(0, 1), (1, 2), (2, 3)], tiny.loss, Local(optimizer))
    store = ParameterStore(engine.init())
    told = []
    return Task(model, tiny.loss, optimizer), Parts(engine, store, WallClock(), told.append), told


@pytest.mark.parametrize(
    ("kind", "laps"),
    [
        # The last lap of a forward pass is what an emulated accelerator takes in its last segment.
        ("interleaved", {"forward": 3, "turn": 1, "backward": 2, "communication": 3}),
        # A whole forward pass is one lap; a backward pass ends with one of its own.
        ("decoupled", {"forward": 1, "backward": 4, "communication": 3}),
        ("shared", {"forward": 1, "backward": 4, "communication": 3}),
    ],
)
def test_every_second_of_a_pass_has_one_cause(monkeypatch, bench, kind, laps):
    _, parts, told = bench
    # Each look at the clock of a thread is a second later than the one before.
    monkeypatch.setattr(stopwatch.Stopwatch, "_now", lambda self: float(next(ticks)))
    ticks = itertools.count()
    pipeline = _make(kind, parts)
    work = Work(tiny.features(), Moment(0, 0, 0))
    for _ in range(2):  # one step at a time, so that threads do not interleave
        list(pipeline.run([work]))
    pipeline.close()
    assert pipeline.statistics().spent_seconds == {cause: 2 * laps[cause] for cause in laps}
    assert len(told) == 6


def test_a_lap_leaves_out_what_the_thread_waited_for_others(monkeypatch, bench):
    _, parts, _ = bench
    times, waited = iter([10.0, 17.0, 20.0]), iter([0.0, 5.0, 5.0])
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: next(times))
    monkeypatch.setattr(parts.store, "waited_seconds", lambda threads: next(waited))
    watch = stopwatch.Stopwatch(parts.store)
    watch.start()
    watch.lap("backward")
    watch.lap("communication")
    assert watch.seconds() == {"backward": 2.0, "communication": 3.0}


@pytest.mark.parametrize("synchronous", [True, False])
def test_costs_of_a_step(monkeypatch, bench, synchronous):
    task, parts, told = bench
    monkeypatch.setattr(costs, "is_synchronous", lambda: synchronous)
    pipeline, work = Interleaved(parts), Work(tiny.features(), Moment(0, 0, 0))
    pipeline.warm_up(work)
    measured = measure_costs(task, parts.engine, pipeline, work)
    assert measured.flops > 3 * 2 * 8 * 5 * 5  # more than the middle layer's products
    assert measured.samples == 8
    assert measured.turned_share == pytest.approx(18 / (25 + 30 + 18))
    assert (measured.update_share is not None) == synchronous
    if synchronous:
        assert 0 < measured.update_share <= 1
    assert told == []


def test_updates_are_a_small_part_of_a_step_that_sleeps(monkeypatch, bench):
    task, parts, _ = bench
    monkeypatch.setattr(costs, "is_synchronous", lambda: True)
    pipeline, work = Interleaved(parts), Work(tiny.features(), Moment(0, 0, 0))
    pipeline.warm_up(work)
    measured = measure_costs(task, parts.engine, pipeline, work, asleep_seconds=1000.0)
    assert 0 < measured.update_share < 0.01
