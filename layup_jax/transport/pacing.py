"""How much of a processor the communication thread may take from the computation it shares it with.

pacing = Pacing(share=0.04)
with pacing.work():            # anything that costs processor time
    ...
pacing.ready()                 # False while more than the share has been used
with pacing.receipt():         # takes a push, for which its sender has paid with pay_receipt()
    ...
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

_NEWEST = 0.1  # weight of the newest receipt in the mean of them


class Pacing:
    """Spaces out own requests so that communication takes at most a share of one processor.

    Where communication runs on processors of its own, share=1 turns pacing off. Being asked by peers
    costs too and is never refused; it only postpones own requests.

    A push is paid for by its sender alone. If its receiver paid, who has received much would send little,
    its peers would therefore receive less and send still more, and in the end one worker would take
    everything and give nothing.

    Threads: the communication thread only.
    """

    def __init__(self, share: float):
        """Takes the share of one processor's time, in (0, 1]."""
        self._share = share
        self._ready_at = 0.0
        self._receipt_seconds: float | None = None

    def ready(self) -> bool:
        """Whether an own request may be served now."""
        return self._share >= 1 or time.perf_counter() >= self._ready_at

    def work(self) -> AbstractContextManager[None]:
        """Charges the processor time of a with-block."""
        return _timed(self._charge)

    def receipt(self) -> AbstractContextManager[None]:
        """Charges nothing, and notes the processor time that taking a push costs."""
        return _timed(self._note_receipt)

    def pay_receipt(self) -> None:
        """Charges what a push will cost its receiver, going by what taking one costs here."""
        self._charge(self._receipt_seconds or 0.0)

    def _charge(self, seconds: float) -> None:
        self._ready_at = max(self._ready_at, time.perf_counter()) + seconds / self._share

    def _note_receipt(self, seconds: float) -> None:
        known = self._receipt_seconds
        self._receipt_seconds = seconds if known is None else known + _NEWEST * (seconds - known)


@contextmanager
def _timed(then: Callable[[float], None]) -> Iterator[None]:
    """Gives the processor time of a with-block to `then`, whatever becomes of it."""
    start = time.thread_time()
    try:
        yield
    finally:
        then(time.thread_time() - start)
