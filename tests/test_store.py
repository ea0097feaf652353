"""The parameter store: versions, atomic updates, independent slots."""

import threading
import types

import pytest

from layup_jax.store import ParameterStore, Versioned
from layup_jax.types import SegmentState

WAIT_SECONDS = 30


def _state(value):
    return SegmentState(value, (), (), ())


def _add(amount):
    return lambda state: (state._replace(params=state.params + amount), state.params)


def test_reads_what_was_put_in():
    store = ParameterStore(map(_state, range(3)))
    assert len(store) == 3
    assert store.read(1) == Versioned(_state(1), 0)
    assert store.snapshot() == (_state(0), _state(1), _state(2))


def test_an_update_gives_its_result_and_the_version_it_saw():
    store = ParameterStore([_state(5), _state(7)])
    assert store.update(1, _add(1)) == (7, 0)
    assert store.update(1, _add(1)) == (8, 1)
    assert store.read(1) == Versioned(_state(9), 2)
    assert store.read(0) == Versioned(_state(5), 0)


def test_a_write_that_changes_nothing_leaves_the_version():
    store = ParameterStore([_state(5)])
    assert store.update(0, lambda state: (state, "seen")) == ("seen", 0)
    assert store.read(0).version == 0


def test_a_failing_write_changes_nothing_and_frees_the_slot():
    store = ParameterStore([_state(5)])
    with pytest.raises(ZeroDivisionError):
        store.update(0, lambda state: 1 // 0)
    assert store.read(0) == Versioned(_state(5), 0)
    store.update(0, _add(1))
    assert store.read(0) == Versioned(_state(6), 1)


def test_restart_puts_all_slots_at_version_zero():
    store = ParameterStore([_state(5), _state(6)])
    store.update(0, _add(1))
    store.restart([_state(1), _state(2)])
    assert [store.read(i) for i in range(2)] == [Versioned(_state(1), 0), Versioned(_state(2), 0)]


def test_no_update_is_lost_between_threads():
    store, count = ParameterStore([_state(0), _state(0)]), 300

    def work():
        for index in range(count):
            store.update(index % 2, _add(1))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS)
    assert [store.read(i) for i in range(2)] == [Versioned(_state(3 * count), 3 * count)] * 2


def test_a_writer_stops_neither_readers_nor_other_slots():
    store = ParameterStore([_state(0), _state(10)])
    inside, leave = threading.Event(), threading.Event()

    def slow(state):
        inside.set()
        assert leave.wait(WAIT_SECONDS)
        return state._replace(params=1), None

    writer = threading.Thread(target=lambda: store.update(0, slow))
    writer.start()
    assert inside.wait(WAIT_SECONDS)
    assert store.read(0).state == _state(0)
    assert store.snapshot() == (_state(0), _state(10))
    store.update(1, _add(1))
    leave.set()
    writer.join(WAIT_SECONDS)
    assert store.snapshot() == (_state(1), _state(11))


def test_waiting_is_charged_to_the_thread_that_waits(monkeypatch):
    store = ParameterStore([_state(0)])
    inside, blocked, waited, times = threading.Event(), threading.Event(), [], iter([10.0, 13.0])

    def read_clock():
        blocked.set()  # the store looks at the clock once it has found the slot taken
        return next(times)

    monkeypatch.setattr("layup_jax.store.time", types.SimpleNamespace(perf_counter=read_clock))

    def slow(state):
        inside.set()
        assert blocked.wait(WAIT_SECONDS)
        return state, None

    def second():
        store.update(0, _add(1))
        waited.append(store.waited_seconds({threading.get_ident()}))

    first = threading.Thread(target=lambda: store.update(0, slow))
    other = threading.Thread(target=second)
    first.start()
    assert inside.wait(WAIT_SECONDS)
    other.start()
    first.join(WAIT_SECONDS)
    other.join(WAIT_SECONDS)
    assert waited == [3]
    assert store.waited_seconds({threading.get_ident()}) == 0
    assert store.read(0).version == 1
