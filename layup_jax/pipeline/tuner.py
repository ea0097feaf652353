"""The ratio of threads under `threads.ratio="auto"`: a choice at the start, and second thoughts.

    tuner = Tuner(measure_passes(engine, batch, delays), cores=2)
    tuner.first.ratio, tuner.first.reason          # Ratio(1, 2, 2), why
    choice = tuner.after_step(ratio, clock.now(), passes.times)     # another one, or None

Arithmetic (`ratio.py`) goes by what passes take; how long threads wait for each other it cannot know. So
its choice is compared in turn with one more backward thread, and with one more forward thread
(`trial.py`); these are kept as long as they do more steps.
"""

from __future__ import annotations

from collections.abc import Callable

from layup_jax.pipeline.base import PassTimes
from layup_jax.pipeline.ratio import (
    Choice,
    Measured,
    Ratio,
    best,
    enough_places,
    most_threads,
    predicted,
)
from layup_jax.pipeline.trial import Trial

_FIRST_LOOK = 50
_LOOK_EVERY = 500  # steps between two looks at what passes take
_WORTH_CHANGING = 1.1  # by arithmetic
_WORTH_A_THREAD = 1.03  # by trial
_ONE_MORE = ((0, 1), (1, 0))  # forward and backward threads


class Tuner:
    """The choice at the start, and second thoughts. Threads: one.

    Attributes:
      first: the choice at the start.
    """

    def __init__(self, measured: Measured, cores: int, queue: int | None = None):
        """Takes what was measured before anything ran beside it, and what `best` does."""
        self._measured = measured
        self._cores = cores
        self._queue = queue
        self._steps = 0
        self._trial: Trial | None = None
        self._untried = list(_ONE_MORE)
        self.first = best(measured, cores, queue)

    def after_step(
        self, ratio: Ratio, now: float, times: Callable[[], PassTimes | None]
    ) -> Choice | None:
        """Counts a step that has ended, and may have another choice.

        Args:
          ratio: in use.
          now: seconds, of a clock that stands still while nobody trains.
          times: asked for what passes take while they run.
        """
        self._steps += 1
        if self._trial is not None:
            return self._go_on(self._trial, ratio, now)
        if self._steps != _FIRST_LOOK and self._steps % _LOOK_EVERY:
            return None
        found = times()
        return None if found is None else self._look(ratio, found)

    def _look(self, ratio: Ratio, times: PassTimes) -> Choice | None:
        """A ratio that promises at least a tenth more by arithmetic; else begins a trial."""
        measured = self._seen(times)
        choice = best(measured, self._cores, self._queue)
        now = predicted(measured, self._cores, ratio.forward, ratio.backward)
        then = predicted(measured, self._cores, choice.ratio.forward, choice.ratio.backward)
        if then >= _WORTH_CHANGING * now:
            self._untried = list(_ONE_MORE)
            return choice
        self._begin_trial(ratio)
        return None

    def _seen(self, times: PassTimes) -> Measured:
        """Passes alone, at the ratio that they have while they run: waiting for cores cancels in it."""
        alone = self._measured.forward_seconds + self._measured.backward_seconds
        share = times.forward_seconds / (times.forward_seconds + times.backward_seconds)
        return self._measured._replace(
            forward_seconds=alone * share, backward_seconds=alone * (1 - share)
        )

    def _begin_trial(self, ratio: Ratio) -> None:
        while self._untried and self._trial is None:
            forward, backward = self._untried[0]
            forward, backward = ratio.forward + forward, ratio.backward + backward
            if self._cores > 1 and forward + backward <= most_threads(self._cores):
                queue = self._queue or enough_places(forward, backward)
                self._trial = Trial(ratio, Ratio(forward, backward, queue))
            else:
                self._untried.pop(0)

    def _go_on(self, trial: Trial, ratio: Ratio, now: float) -> Choice | None:
        trial.count(now)
        if trial.gain is None:
            return None if trial.ratio == ratio else Choice(trial.ratio)
        return self._judged(trial, trial.gain)

    def _judged(self, trial: Trial, gain: float) -> Choice:
        """What is kept; the next trial begins at once."""
        is_worth_it = gain >= _WORTH_A_THREAD
        kept = trial.candidate if is_worth_it else trial.standing
        if not is_worth_it:
            self._untried.pop(0)
        self._trial = None
        self._begin_trial(kept)
        other = trial.standing if is_worth_it else trial.candidate
        compared = gain if is_worth_it else 1 / gain
        return Choice(
            kept,
            f"{kept.threads} because it did {compared:.2f} times the steps of {other.threads} in {trial}",
        )
