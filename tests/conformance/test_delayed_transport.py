"""A transport behind a slow link keeps the contract of a transport."""

import pytest

from layup_jax.draws import Draws
from layup_jax.pauses import Pauses
from layup_jax.testing import transports
from layup_jax.transport.delayed import DelayedTransport, Link
from layup_jax.transport.local import local_transports, run_threads


class Looks:
    """A clock that goes on by one with every look at it."""

    def __init__(self):
        self._now = 0.0

    def now(self):
        self._now += 1
        return self._now


def _delayed(transport):
    latency = Pauses(5.0, "exponential", draws=Draws(0, transport.rank))
    clock = Looks()
    link = Link(latency, bytes_per_second=1e5)
    return DelayedTransport(transport, link, now=clock.now)


@pytest.mark.parametrize("all_are_slow", [True, False])
@pytest.mark.parametrize("num_workers", [1, 2, 3, 4])
@pytest.mark.parametrize("check", transports.CHECKS, ids=lambda check: check.__name__)
def test_contract(check, num_workers, all_are_slow):
    def run(transport):
        is_slow = all_are_slow or transport.rank == 0
        check(_delayed(transport) if is_slow else transport)

    run_threads(local_transports(num_workers), run, lambda: None)
