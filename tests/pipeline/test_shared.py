"""Hogwild!, LAP-SGD and LPP-SGD: threads on one set of parameters."""

from collections import Counter

import numpy as np
import optax
import pytest
from schedules import SLOPES, Bench, ones, shared, sloping_engine

from layup_jax.errors import ConfigError
from layup_jax.pipeline.make import Schedule
from layup_jax.pipeline.shared import SharedOptions, chunks


def _displacement(steps, learning_rate=0.25, momentum=0.5):
    """Of plain momentum SGD after so many steps with a gradient of 1."""
    velocity = position = 0.0
    for _ in range(steps):
        velocity = momentum * velocity + 1
        position -= learning_rate * velocity
    return position


def _steps_by_thread(bench):
    """From the recording: whose own optimizer state was used, in the first segment."""
    events = [each for each in bench.recording.events if each.segment == 0 and each.version < 0]
    return Counter(each.thread for each in events)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_every_thread_has_a_momentum_of_its_own(threads):
    engine = sloping_engine(optax.sgd(0.25, momentum=0.5))
    bench = Bench(engine, shared(threads))
    bench.train(30, ones())
    bench.pipeline.close()
    steps = _steps_by_thread(bench)
    assert sum(steps.values()) == 30
    assert set(steps) <= set(range(threads))
    moved = sum(_displacement(count) for count in steps.values())
    for params in bench.params():
        np.testing.assert_allclose(params[0]["w"], moved * SLOPES, rtol=1e-5)


def test_a_shared_momentum_is_that_of_one_sequence():
    bench = Bench(sloping_engine(optax.sgd(0.25, momentum=0.5)), shared(3, own_momentum=False))
    bench.train(30, ones())
    bench.pipeline.close()
    assert set(_steps_by_thread(bench)) == {-1}
    for params in bench.params():
        np.testing.assert_allclose(params[0]["w"], _displacement(30) * SLOPES, rtol=1e-5)


@pytest.mark.parametrize(
    ("segments", "parts", "expected"),
    [
        (4, 2, [range(0, 2), range(2, 4)]),
        (5, 2, [range(0, 2), range(2, 5)]),
        (3, 3, [range(0, 1), range(1, 2), range(2, 3)]),
        (7, 1, [range(0, 7)]),
    ],
)
def test_chunks_are_contiguous_and_cover_everything(segments, parts, expected):
    assert chunks(segments, parts) == expected


def test_after_the_warm_up_every_second_step_updates_the_threads_own_chunk_only():
    bench = Bench(sloping_engine(depth=4), shared(2, partial_from=3))
    results = bench.train(40, ones())
    bench.pipeline.close()
    by_step = {}
    for event in bench.recording.events:
        if event.version < 0:
            by_step.setdefault(event.step, []).append(event)
    seen = Counter()
    for step in sorted(by_step, key=lambda step: bench.recording.events.index(by_step[step][0])):
        events = by_step[step]
        thread = events[0].thread
        done, seen[thread] = seen[thread], seen[thread] + 1
        is_partial = done >= 3 and (done - 3) % 2 == 0
        chunk = chunks(4, 2)[thread] if is_partial else range(4)
        assert [event.segment for event in events] == list(reversed(chunk))
    partial = [result for result in results if None in result.staleness]
    assert 0 < len(partial) < len(results)
    assert all(result.staleness.count(None) == 2 for result in partial)


def test_more_parts_than_segments_are_refused():
    schedule = Schedule("shared", shared=SharedOptions(4, partial_from=10))
    schedule.check_segments(4)
    with pytest.raises(
        ConfigError, match="needs a segment for each of its threads, got 4 threads and 3"
    ):
        schedule.check_segments(3)
    Schedule("shared", shared=SharedOptions(4)).check_segments(1)
