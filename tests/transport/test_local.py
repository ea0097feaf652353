"""Workers as threads: errors come out, nobody is left waiting; the contract itself is in conformance."""

import itertools
import threading

import numpy as np
import pytest

from layup_jax.errors import PeerFailedError
from layup_jax.transport.local import local_transports, run_threads

ATTEMPTS = 100


def _run(size, function, on_interrupt=lambda: None):
    return run_threads(local_transports(size), function, on_interrupt)


def test_results_come_by_rank():
    assert _run(3, lambda transport: 10 * transport.rank) == [0, 10, 20]


def test_threads_are_named_after_their_workers():
    names = _run(2, lambda transport: threading.current_thread().name)
    assert names == ["layup-compute-0", "layup-compute-1"]


def test_an_error_comes_out_and_frees_those_who_wait():
    def work(transport):
        if transport.rank == 1:
            raise KeyError("the cause")
        transport.gather(None)

    with pytest.raises(KeyError, match="the cause"):
        _run(3, work)


def test_who_gathers_after_a_failure_is_not_left_waiting():
    endpoints = local_transports(2)
    endpoints[1].abandon()
    with pytest.raises(PeerFailedError):
        endpoints[0].gather(None)


def test_what_was_gathered_is_had_by_all_even_if_one_fails_right_after():
    """Otherwise the worker with the cause may itself learn only that another one failed."""
    seen = []

    def work(transport):
        seen.append(transport.gather(transport.rank))
        raise KeyError("the cause")

    for attempt in range(1, ATTEMPTS + 1):
        with pytest.raises(KeyError):
            _run(4, work)
        assert seen == [[0, 1, 2, 3]] * 4 * attempt


def test_an_error_of_its_own_is_preferred_to_one_about_others():
    def work(transport):
        kind = ValueError if transport.rank == 2 else PeerFailedError
        raise kind(f"from {transport.rank}")

    with pytest.raises(ValueError, match="from 2"):
        _run(3, work)


def test_endpoints_know_their_place():
    endpoints = local_transports(3)
    assert [each.rank for each in endpoints] == [0, 1, 2]
    assert {each.size for each in endpoints} == {3}
    assert {each.data_plane for each in endpoints} == {"threads"}


def test_a_sum_has_the_same_bits_whoever_comes_first():
    """In float32 1e8 + 1 - 1e8 is 0, and 1e8 - 1e8 + 1 is 1."""
    given = np.array([[1e8], [1.0], [-1e8], [1.0]], np.float32)
    sums = set()
    for order in itertools.permutations(range(4)):
        endpoints = local_transports(4)
        waiting = [endpoints[rank].sum(given[rank]) for rank in order]
        assert all(each.done() for each in waiting)
        sums |= {float(each.total[0]) for each in waiting}
    assert len(sums) == 1
