"""Whether another ratio of threads is faster: both train in blocks of steps, in turn.

trial = Trial(standing=Ratio(1, 2, 2), candidate=Ratio(1, 3, 3))
while trial.gain is None:                  # train a step with trial.ratio, then
    trial.count(clock.now())
trial.gain                                 # 1.06: the candidate did 1.06 times the steps
"""

from __future__ import annotations

import statistics

from layup_jax.pipeline.ratio import Ratio

_SETTLE = 5  # steps at the start of a block that still end what the block before has begun
_STEPS = 20
_PAIRS = 6  # even: then drift favours neither


class Trial:
    """Paired blocks of steps under two ratios. Threads: one."""

    def __init__(self, standing: Ratio, candidate: Ratio):
        """Takes the ratio in use, and what may replace it."""
        self.standing = standing
        self.candidate = candidate
        self._seconds: list[float] = []
        self._steps = 0
        self._start = 0.0

    def __str__(self) -> str:
        """Its size in words."""
        return f"{_PAIRS} blocks of {_STEPS} steps each"

    @property
    def ratio(self) -> Ratio:
        """To train the next step with; which comes first in a pair alternates."""
        return self.candidate if len(self._seconds) % 4 in (1, 2) else self.standing

    @property
    def gain(self) -> float | None:
        """Steps of the candidate over those of the other in the same time; None before the end."""
        if len(self._seconds) < 2 * _PAIRS:
            return None
        return statistics.median(
            second / first if pair % 2 else first / second
            for pair, (first, second) in enumerate(
                zip(self._seconds[::2], self._seconds[1::2], strict=True)
            )
        )

    def count(self, now: float) -> None:
        """Counts a step that has ended.

        Args:
          now: seconds, of a clock that stands still while nobody trains.
        """
        self._steps += 1
        if self._steps == _SETTLE:
            self._start = now
        elif self._steps == _SETTLE + _STEPS:
            self._seconds.append(now - self._start)
            self._steps = 0
