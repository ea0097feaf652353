"""The queue between threads: places, order, closing, and what it counts."""

import threading
import types

import pytest

from layup_jax.pipeline.queue import BoundedQueue, QueueClosed

WAIT_SECONDS = 30.0


def _started(call):
    """A thread that makes a call, and the list that its result or QueueClosed ends up in."""
    results = []

    def run():
        try:
            results.append(call())
        except QueueClosed as closed:
            results.append(closed)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, results


def test_first_in_first_out():
    queue = BoundedQueue(3)
    for item in "abc":
        queue.put(item)
    assert [queue.take() for _ in range(3)] == ["a", "b", "c"]


def test_a_place_is_taken_when_it_is_reserved_and_free_when_its_item_is_taken():
    queue = BoundedQueue(2)
    queue.reserve()
    queue.reserve()
    thread, results = _started(queue.reserve)
    queue.fill("first")
    assert not results
    assert queue.take() == "first"
    thread.join(WAIT_SECONDS)
    assert results == [None]


def test_who_takes_waits_for_an_item():
    queue = BoundedQueue(1)
    thread, results = _started(queue.take)
    queue.put("late")
    thread.join(WAIT_SECONDS)
    assert results == ["late"]


@pytest.mark.parametrize("call", ["take", "reserve"])
def test_closing_wakes_everybody(call):
    queue = BoundedQueue(1)
    if call == "reserve":
        queue.put("in the way")
    waiting = [_started(getattr(queue, call)) for _ in range(3)]
    queue.close()
    queue.close()
    for thread, results in waiting:
        thread.join(WAIT_SECONDS)
        assert [type(each) for each in results] == [QueueClosed]


def test_after_closing_nothing_is_kept_and_nothing_given():
    queue = BoundedQueue(2)
    queue.put(1)
    queue.reserve()
    queue.close()
    queue.fill(2)
    assert len(queue) == 0
    for call in (queue.take, queue.reserve, lambda: queue.put(3)):
        with pytest.raises(QueueClosed):
            call()


def test_more_places_let_who_waits_go_on():
    queue = BoundedQueue(1)
    queue.put(1)
    thread, results = _started(queue.reserve)
    queue.resize(2)
    thread.join(WAIT_SECONDS)
    assert results == [None]


def test_statistics_count_depths_and_both_sides_of_waiting():
    queue = BoundedQueue(3)
    for item in range(3):
        queue.put(item)
    queue.take()
    queue.take()
    seen = queue.statistics()
    assert (seen.taken, seen.depth_mean, seen.depth_max) == (2, 2.5, 3)
    assert (seen.full_seconds, seen.empty_seconds) == (0, 0)
    queue.take()
    thread, _ = _started(queue.take)
    queue.put("late")
    thread.join(WAIT_SECONDS)
    assert queue.statistics().empty_seconds >= 0
    assert queue.statistics().taken == 4


def test_waits_before_there_was_something_to_do_do_not_count(monkeypatch):
    now = iter([10.0, 50.0, 53.0])  # the wait begins, counting begins, the wait ends
    clock = types.SimpleNamespace(perf_counter=lambda: next(now))
    monkeypatch.setattr("layup_jax.pipeline.queue.time", clock)
    queue, waiting = BoundedQueue(1), threading.Event()
    queue._changed.wait = _announcing(queue._changed.wait, waiting)
    thread, results = _started(queue.take)
    assert waiting.wait(WAIT_SECONDS)
    queue.count_from_now()
    queue.put("late")
    thread.join(WAIT_SECONDS)
    assert results == ["late"]
    assert queue.statistics().empty_seconds == 3


def _announcing(wait, event):
    def announced(*arguments):
        event.set()
        return wait(*arguments)

    return announced
