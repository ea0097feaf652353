"""The conformance suite of strategies.

    for check in CHECKS:
        check(make)          # make(optimizer, num_workers) -> Strategy

`make` is called with different optimizers, and for 1, 2 and 4 workers. A method that communicates every
so many steps is best made with a period of a few steps, and with outer learning rates and momenta for
which it is stable; no check trains for more than 2000 steps.

`PROMISES` are checks of what only some methods promise: `applies_gradients_as_optax_does`, at once and
unchanged, and `trains_alone_as_optax_does`, all that communicate by mere averaging.
"""

from __future__ import annotations

from layup_jax.testing import (
    conservation_checks,
    convergence_checks,
    request_checks,
    segment_checks,
)
from layup_jax.testing.convergence_checks import (
    applies_gradients_as_optax_does,
    trains_alone_as_optax_does,
)
from layup_jax.testing.kinds import Make

CHECKS = (
    *segment_checks.CHECKS,
    *request_checks.CHECKS,
    *conservation_checks.CHECKS,
    *convergence_checks.CHECKS,
)
PROMISES = convergence_checks.PROMISES

__all__ = [
    "CHECKS",
    "PROMISES",
    "Make",
    "applies_gradients_as_optax_does",
    "trains_alone_as_optax_does",
]
