"""What Ctrl-C and SIGTERM do to a worker: the first ends its run, a second one the process.

    with Interrupts(alone=True) as interrupts:
        ...                                  # prepares: KeyboardInterrupt at once
        interrupts.end_after_step()
        train(..., interrupts.asked)         # ends after the current step and writes its results

Several workers must not leave their common preparations one by one: they look at `asked` when they meet.

No exception is raised while a compiled module is being made: it may crash of one.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

INTERRUPTED = 128 + signal.SIGINT
ENDED = b"layup: ended at once, without a last evaluation; the run folder keeps what came before\n"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)  # SIGUSR1: see launch.py
_MAKES_MODULES = f"{importlib.machinery.ExtensionFileLoader.__name__}."  # whose methods do
_SECOND_SECONDS = 1.0  # mpirun hands on what a terminal has sent to all: that is no second one


class Interrupts:
    """Handles the signals of one run, in the main thread; in others it handles none.

    Attributes:
      asked: set once the run is to end.
    """

    def __init__(self, *, alone: bool):
        """Takes whether there is no other worker."""
        self.asked = threading.Event()
        self._alone = alone
        self._leaves = alone
        self._first = 0.0
        self._before: list[Any] = []

    def __enter__(self) -> Self:
        """Takes the signals."""
        if threading.current_thread() is threading.main_thread():
            self._before = [signal.signal(number, self._take) for number in _SIGNALS]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        """Gives the signals back."""
        for number, handler in zip(_SIGNALS, self._before, strict=False):
            signal.signal(number, handler)

    def end_after_step(self) -> None:
        """From now on a signal lets the current step end."""
        self._leaves = False

    def _take(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self.asked.is_set():
            self._first = now
            self.asked.set()
            if self._leaves:
                interrupt(frame)
        elif now - self._first >= _SECOND_SECONDS:
            if self._alone:
                os.write(2, ENDED)
            os._exit(INTERRUPTED if number == signal.SIGUSR1 else 128 + number)


def interrupt(frame: FrameType | None) -> NoReturn:
    """Raises KeyboardInterrupt in the frame that got a signal, or ends the process where it must not."""
    while frame is not None:
        if frame.f_code.co_qualname.startswith(_MAKES_MODULES):
            leave_at_once()
        frame = frame.f_back
    raise KeyboardInterrupt


def leave_at_once() -> NoReturn:
    """Ends an interrupted process that has nothing to write, whatever its threads are waiting for."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(INTERRUPTED)


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Keeps Ctrl-C and SIGTERM for the end of the block; in the main thread."""
    came: list[int] = []

    def keep(number: int, frame: FrameType | None) -> None:
        del frame
        came.append(number)

    before = {each: signal.signal(each, keep) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])
