"""Counts what JAX compiles.

with compilations() as compiled:
    function(*arguments)
assert compiled == []
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax

_COMPILED = "/jax/core/compile/backend_compile_duration"


@contextmanager
def compilations() -> Iterator[list[str]]:
    """A list that holds, at the end, the names of the functions compiled inside, by any thread."""
    names: list[str] = []

    def listen(event: str, duration_secs: float, **details: Any) -> None:
        del duration_secs
        if event == _COMPILED:
            names.append(str(details.get("fun_name", "")))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield names
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
