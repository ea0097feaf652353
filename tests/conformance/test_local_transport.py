"""The in-process transport keeps the contract of a transport."""

import pytest

from layup_jax.testing import transports
from layup_jax.transport.local import local_transports, run_threads


@pytest.mark.parametrize("num_workers", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("check", transports.CHECKS, ids=lambda check: check.__name__)
def test_contract(check, num_workers):
    run_threads(local_transports(num_workers), check, lambda: None)
