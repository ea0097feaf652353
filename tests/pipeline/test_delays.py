"""Emulated layers and stragglers: when passes sleep, on a source that only writes down."""

import functools
import threading

import numpy as np
import optax
import pytest
from schedules import SCHEDULES, Bench, Slope, layers_of, mean_output, ones

from layup_jax.artificial import configured_delays
from layup_jax.config import validated
from layup_jax.engine.engine import Engine
from layup_jax.models import LayeredModel, partition_layers
from layup_jax.pauses import Pauses
from layup_jax.pipeline.delays import Delays, Emulated, TimeSource
from layup_jax.strategies import Local

WAIT_SECONDS = 30.0
WHOLE = [name for name in SCHEDULES if name != "partial"]
EMULATED = Emulated((1.0, 2.0, 3.0), (10.0, 20.0, 30.0))


def _doubled(outputs):
    return outputs * 2


@functools.cache
def _engine(partition="layer"):
    """Three layers with parameters, and one without wherever there are four."""
    layers = [Slope(), Slope(), Slope()]
    if partition != "layer":
        layers.insert(1, _doubled)
    model = LayeredModel(layers)
    cut = partition_layers(partition, [12] * len(model)) if partition != "layer" else None
    return Engine(model, cut or layers_of(model), mean_output, Local(optax.sgd(0.25)))


class Diary(list):
    """What was slept, and which updates were announced in between."""

    def __init__(self, tick=0.0):
        super().__init__()
        self._now, self._tick = 0.0, tick

    def sleep(self, seconds):
        self.append(seconds)

    def now(self):
        """Any two looks are a tick apart."""
        self._now += self._tick
        return self._now

    def bench(self, name, delays, partition="layer"):
        source = TimeSource(self.sleep, self.now)
        bench = Bench(_engine(partition), SCHEDULES[name], delays=delays._replace(source=source))
        bench.pipeline = SCHEDULES[name](
            bench.parts._replace(on_update=lambda event: self.append(f"update {event.segment}"))
        )
        return bench

    @property
    def slept(self):
        return [each for each in self if isinstance(each, float)]


def _train(bench, steps):
    results = bench.train(steps, ones())
    bench.pipeline.close()
    return results


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("partition", [4, 2, "model"])
def test_the_partition_does_not_change_what_is_slept(name, partition):
    config = validated({"emulation": {"forward_seconds": 0.25, "backward_seconds": 0.5}})
    diary = Diary()
    delays = configured_delays(config, 0, _engine(partition).segments)
    _train(diary.bench(name, delays, partition), 4)
    assert sum(diary.slept) == 4 * 3 * (0.25 + 0.5)


@pytest.mark.parametrize("name", WHOLE)
def test_an_update_comes_after_its_own_sleep_and_before_the_next(name):
    diary = Diary()
    _train(diary.bench(name, Delays(emulated=EMULATED)), 1)
    forward, backward = [1.0, 2.0, 3.0], [30.0, "update 2", 20.0, "update 1", 10.0, "update 0"]
    assert diary == forward + backward


def test_what_is_differentiated_only_is_slept_for_too():
    """A partial step updates its own chunk, and goes no further down than that."""
    diary = Diary()
    bench = diary.bench("partial", Delays(emulated=EMULATED))
    results = _train(bench, 8)
    below = {(True, True, True): 60.0, (True, True, False): 60.0, (False, False, True): 30.0}
    updated = [tuple(each is not None for each in result.staleness) for result in results]
    backward = [each for each in diary.slept if each >= 10]
    assert sum(backward) == sum(below[each] for each in updated)


@pytest.mark.parametrize("name", WHOLE)
def test_a_slowdown_multiplies_what_is_computed_and_what_is_emulated(name):
    """Every computation takes one tick of the clock, and is to take three."""
    diary = Diary(tick=1.0)
    _train(diary.bench(name, Delays(emulated=EMULATED, slowdown=3.0)), 1)
    # The last segment of the interleaved schedule computes once, forward and backward.
    last = [9.0] if name == "interleaved" else [2.0, 9.0]
    forward = [2.0, 3.0, 2.0, 6.0, *last]
    backward = [90.0, 2.0, "update 2", 60.0, 2.0, "update 1", 30.0, 2.0, "update 0"]
    assert list(diary) == forward + backward


@pytest.mark.parametrize("name", SCHEDULES)
def test_no_slot_is_locked_while_a_thread_sleeps(name):
    """Another thread writes to every slot meanwhile."""
    slept = []

    def write_everywhere(store):
        for segment in range(3):
            store.update(segment, lambda state: (state, None))

    def sleep(seconds):
        writer = threading.Thread(target=write_everywhere, args=(bench.store,))
        writer.start()
        writer.join(WAIT_SECONDS)
        assert not writer.is_alive(), "a slot is locked"
        slept.append(seconds)

    source = TimeSource(sleep, Diary(tick=1.0).now)
    bench = Bench(
        _engine(), SCHEDULES[name], delays=Delays(Pauses(1), Pauses(1), EMULATED, 2.0, source)
    )
    _train(bench, 6)
    assert len(slept) > 6 * 8


@pytest.mark.parametrize("name", SCHEDULES)
def test_pauses_of_steps_follow_their_pattern(name):
    diary = Diary()
    delays = Delays(Pauses(0.5, "every", 2), Pauses(8.0, "exponential", stream=3))
    _train(diary.bench(name, delays), 6)
    forward, backward = ([each.seconds_of(step) for step in range(6)] for each in delays[:2])
    assert sorted(diary.slept) == sorted([each for each in (*forward, *backward) if each])
    assert forward.count(0.5) == 3


@pytest.mark.parametrize("name", ["interleaved", "decoupled 1:2", "shared"])
def test_delays_change_no_parameters(name):
    diary = Diary(tick=1.0)
    delays = Delays(Pauses(1.0), Pauses(1.0), EMULATED, 2.0)
    late = diary.bench(name, delays)
    plain = Bench(_engine(), SCHEDULES[name])
    _train(late, 5), _train(plain, 5)
    for mine, theirs in zip(late.params(), plain.params(), strict=True):
        np.testing.assert_array_equal(mine[0]["w"], theirs[0]["w"])


def test_only_the_ranks_named_are_slower_but_all_are_emulated():
    delay = {"ranks": (1,), "seconds": 0.1, "backward_seconds": 0.2, "slowdown": 3.0}
    config = validated({"delay": delay, "emulation": {"backward_seconds": 0.5}, "seed": 5})
    fast, slow = (configured_delays(config, rank, _engine(2).segments) for rank in (0, 1))
    assert fast == Delays(emulated=Emulated((0.0, 0.0), (0.5, 1.0)))
    assert slow.emulated == fast.emulated
    assert (slow.slowdown, slow.forward.seconds, slow.backward.seconds) == (3.0, 0.1, 0.2)
    everybody = validated({"delay": delay | {"ranks": "all"}})
    assert configured_delays(everybody, 0, _engine(2).segments).slowdown == 3.0
