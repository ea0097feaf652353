"""What rank 0 tells the person who waits: a live bar in a terminal, plain lines elsewhere.

    with Progress(config.stop) as progress:
        progress.write(step_record)             # as often as you like
        progress.write(evaluation_record)

    step 120/300  1.3 s  loss 0.4321  accuracy 0.953  2,450 samples/s per worker
    step 120  about 15,360/100,000 samples  1.3 s  loss 0.4321  ...     # with stop.samples alone

Processor time is scarce where workers share cores: no thread refreshes anything, the bar is drawn
at most four times a second, and what is not drawn costs about a microsecond.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from layup_jax.config import StopConfig
from layup_jax.metrics.console import open_console
from layup_jax.metrics.records import EvaluationRecord, Line, NoteRecord, StepRecord

if TYPE_CHECKING:
    from rich.console import Console

_BAR_WIDTH = 60
_LIVE_SECONDS = 0.25
_LINE_SECONDS = 2.0
_LONGEST_LINE_SECONDS = 60.0
_LINES_PER_RUN = 30
_KEPT_STEPS = 100  # an evaluation ends when later steps are known


class Progress:
    """Shows how far rank 0 is. Not for several threads at a time.

    Lines come about every 2 s, and more rarely in long runs, up to once a minute; every evaluation
    that says something new has one. The accuracy is the mean model's, or "own", rank 0's, where that
    is unknown. A line has the loss and the accuracy of its own step, the bar the newest of each. After
    close: `write` does nothing.
    """

    def __init__(
        self,
        stop: StopConfig,
        *,
        workers: int = 1,
        console: Console | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Draws nothing yet.

        Args:
          stop: when the run ends.
          workers: of the run. Rank 0 knows its own samples only; with others it says "about", taking
            them to be as fast as itself.
          console: of rich; None: what `open_console` gives. In a terminal there is a bar.
          now: seconds, for the pace of drawing only.
        """
        self._stop = stop
        self._workers = workers
        self._console = console or open_console()
        self._now = now
        self._started = now()
        self._next = self._started
        self._steps: deque[StepRecord] = deque(maxlen=_KEPT_STEPS)
        self._evaluation: EvaluationRecord | None = None
        self._samples_per_second: float | None = None
        self._drawn: StepRecord | None = None
        self._shown = ""
        self._closed = False
        live = self._console.is_terminal and not self._console.is_dumb_terminal
        self._bar = _Bar(self._console) if live else None

    def write(self, line: Line) -> None:
        """Takes the newest line of rank 0, and draws if it is time or an accuracy is new."""
        if self._closed:
            return
        if isinstance(line, NoteRecord):
            self._say(line.text)
            return
        if isinstance(line, EvaluationRecord):
            self._evaluation = line
        else:
            self._steps.append(line)
        if line is not self._step or self._now() >= self._next:
            self._draw(line)

    @property
    def _step(self) -> StepRecord | None:
        """The newest."""
        return self._steps[-1] if self._steps else None

    def close(self) -> None:
        """Draws the last state and leaves it standing; may be called again."""
        if self._closed:
            return
        if self._step is not None and self._step is not self._drawn:
            self._draw(self._step)
        self._closed = True
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> Self:
        """The progress itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes."""
        self.close()

    def _say(self, text: str) -> None:
        """Prints a line that stays, above the bar if there is one."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _draw(self, line: StepRecord | EvaluationRecord) -> None:
        self._measure()
        text = "  ".join(
            [self._position(line), f"{line.train_seconds:.1f} s", *self._numbers(line)]
        )
        if self._bar is not None:
            self._bar.draw(self._fraction(line), text)
        elif text != self._shown:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        self._shown = text
        self._next = self._now() + self._pause()

    def _measure(self) -> None:
        """Speed between the two newest drawn step lines."""
        new, old = self._step, self._drawn
        if new is None or new is old:
            return
        samples, seconds = new.samples, new.train_seconds
        if old is not None:
            samples, seconds = samples - old.samples, seconds - old.train_seconds
        if seconds > 0:
            self._samples_per_second = samples / seconds
        self._drawn = new

    def _pause(self) -> float:
        if self._bar is not None:
            return _LIVE_SECONDS
        elapsed = self._now() - self._started
        return min(max(_LINE_SECONDS, elapsed / _LINES_PER_RUN), _LONGEST_LINE_SECONDS)

    def _position(self, line: StepRecord | EvaluationRecord) -> str:
        if self._stop.steps is not None:
            return f"step {line.step}/{self._stop.steps}"
        if self._stop.samples is not None and self._step is not None:
            about = "about " if self._workers > 1 else ""
            done = f"{about}{self._samples(line):,}/{self._stop.samples:,} samples"
            return f"step {line.step}  {done}"
        return f"step {line.step}"

    def _samples(self, line: StepRecord | EvaluationRecord) -> int:
        """Of all workers at that step, as far as rank 0 can tell; never above where they stop."""
        if self._step is None or self._stop.samples is None:
            return 0
        per_step = self._step.samples * self._workers / self._step.step
        return min(round(per_step * line.step), self._stop.samples)

    def _fraction(self, line: StepRecord | EvaluationRecord) -> float:
        fractions = [0.0]
        if self._stop.steps:
            fractions.append(line.step / self._stop.steps)
        if self._stop.seconds:
            fractions.append(line.train_seconds / self._stop.seconds)
        if self._stop.samples:
            fractions.append(self._samples(line) / self._stop.samples)
        return min(1.0, max(fractions))

    def _numbers(self, line: StepRecord | EvaluationRecord) -> list[str]:
        """Of that step; on a bar, which has no step of its own, the newest."""
        step, evaluation = self._step, self._evaluation
        if self._bar is None:
            step = next((each for each in reversed(self._steps) if each.step == line.step), None)
        parts = []
        if step is not None:
            parts.append(f"loss {step.loss:.4f}")
        if evaluation is not None and (self._bar is not None or evaluation.step == line.step):
            parts.append(_accuracy(evaluation))
        if self._samples_per_second is not None:
            parts.append(f"{self._samples_per_second:,.0f} samples/s per worker")
        return [part for part in parts if part]


def _accuracy(line: EvaluationRecord) -> str:
    """Of the mean model, or of rank 0's own; nothing without test data."""
    if line.mean_test_accuracy is not None:
        return f"accuracy {line.mean_test_accuracy:.3f}"
    return "" if math.isnan(line.test_accuracy) else f"own accuracy {line.test_accuracy:.3f}"


class _Bar:
    """The text and a bar below it, drawn by rich when asked and never by a thread."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live

        self._live = Live(console=console, auto_refresh=False)
        self._live.start()

    def draw(self, fraction: float, text: str) -> None:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        bar = ProgressBar(total=1.0, completed=fraction, width=_BAR_WIDTH)
        line = Text(text, no_wrap=True, overflow="ellipsis")
        self._live.update(Group(line, bar), refresh=True)

    def close(self) -> None:
        self._live.stop()
