import threading
import time

import pytest

from layup_jax.patience import told_if_long
from layup_jax.testing.endpoints import wait_until


def test_a_long_wait_is_told_once():
    told = []
    with told_if_long(lambda: told.append("waiting"), 0.001):
        wait_until(lambda: told, "the wait to be told", seconds=10)
        time.sleep(0.01)
    assert told == ["waiting"]


def test_a_short_one_is_not_and_leaves_no_thread():
    told, before = [], threading.active_count()
    with pytest.raises(ZeroDivisionError), told_if_long(lambda: told.append("waiting"), 60.0):
        raise ZeroDivisionError
    assert (told, threading.active_count()) == ([], before)
