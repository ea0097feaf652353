"""A wait that says what it is for, if it is long.

with told_if_long(lambda: print("waiting for the others")):
    transport.gather(None)
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

_SECONDS = 2.0


@contextlib.contextmanager
def told_if_long(tell: Callable[[], None], seconds: float = _SECONDS) -> Iterator[None]:
    """Calls `tell` once if the body takes longer, from another thread; never after the body's end."""
    timer = threading.Timer(seconds, tell)
    timer.name = "layup-patience"
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
