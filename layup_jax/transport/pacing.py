"""How much of a processor the communication thread may take from the computation it shares it with.

pacing = Pacing(share=0.04)
with pacing.work():            # anything that costs processor time
    ...
pacing.ready()                 # False while more than the share has been used
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Pacing:
    """Spaces out own requests so that communication takes at most a share of one processor.

    Where communication runs on processors of its own, share=1 turns pacing off. Being asked by peers
    costs too and is never refused; it only postpones own requests.

    Threads: the communication thread only.
    """

    def __init__(self, share: float):
        """Takes the share of one processor's time, in (0, 1]."""
        self._share = share
        self._ready_at = 0.0

    def ready(self) -> bool:
        """Whether an own request may be served now."""
        return self._share >= 1 or time.perf_counter() >= self._ready_at

    @contextmanager
    def work(self) -> Iterator[None]:
        """Charges the processor time of a with-block."""
        start = time.thread_time()
        try:
            yield
        finally:
            spent = time.thread_time() - start
            self._ready_at = max(self._ready_at, time.perf_counter()) + spent / self._share
