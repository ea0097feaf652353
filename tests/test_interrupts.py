"""Signals of a run: KeyboardInterrupt while it is prepared, a wish afterwards, and the second one."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from layup_jax import interrupts
from layup_jax.interrupts import ENDED, Interrupts
from layup_jax.training import _together
from layup_jax.transport.local import local_transports, run_threads

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


@pytest.fixture(autouse=True)
def _handlers_of_our_own():
    """The process lives on whatever a test sends itself."""
    before = [signal.signal(number, lambda *_: None) for number in SIGNALS]
    yield
    for number, handler in zip(SIGNALS, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_worker_alone_leaves_its_preparations_at_once(number):
    before = [signal.getsignal(each) for each in SIGNALS]
    with pytest.raises(KeyboardInterrupt), Interrupts(alone=True):
        signal.raise_signal(number)
    assert [signal.getsignal(each) for each in SIGNALS] == before


@pytest.mark.parametrize("alone", [False, True])
def test_training_goes_on_to_the_end_of_its_step(alone):
    with Interrupts(alone=alone) as handled:
        handled.end_after_step()
        assert not handled.asked.is_set()
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)  # as mpirun hands on what a terminal has sent
        assert handled.asked.is_set()


@pytest.mark.parametrize(
    ("alone", "number", "status"),
    [(True, signal.SIGINT, 130), (False, signal.SIGTERM, 143), (False, signal.SIGUSR1, 130)],
)
def test_a_second_one_ends_the_process(monkeypatch, capfd, alone, number, status):
    ended = []
    monkeypatch.setattr(os, "_exit", ended.append)
    now = [100.0]
    monkeypatch.setattr(interrupts.time, "monotonic", lambda: now[0])
    with Interrupts(alone=alone) as handled:
        handled.end_after_step()
        signal.raise_signal(signal.SIGINT)
        now[0] += 5.0
        signal.raise_signal(number)
    assert ended == [status]
    assert capfd.readouterr().err == (ENDED.decode() if alone else "")


IMPORTING = """
import importlib.abc, signal, sys
from layup_jax.interrupts import Interrupts

class Interrupting(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "_compat_pickle":  # which the making of _pickle imports
            signal.raise_signal(signal.SIGINT)

for name in ("_pickle", "_compat_pickle"):
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Interrupting())
try:
    with Interrupts(alone=True):
        import {module}
except KeyboardInterrupt:
    sys.stdout.write("raised")
"""


@pytest.mark.parametrize(
    ("module", "status", "said"), [("_compat_pickle", 0, "raised"), ("_pickle", 130, "")]
)
def test_the_making_of_a_compiled_module_is_not_broken_off(module, status, said):
    code = IMPORTING.format(module=module)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (status, said, "")


def test_other_threads_handle_none():
    before = signal.getsignal(signal.SIGINT)
    found = []

    def work():
        with Interrupts(alone=True):
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]


def test_several_workers_leave_their_preparations_together():
    asked = [threading.Event() for _ in range(3)]

    def prepare(transport):
        mine = asked[transport.rank]
        _together(transport, mine, lambda: None)
        if transport.rank == 1:
            mine.set()
        with pytest.raises(KeyboardInterrupt):
            _together(transport, mine, lambda: None, root=True)
        return "left"

    assert run_threads(local_transports(3), prepare, lambda: None) == ["left"] * 3
