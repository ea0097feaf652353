"""Second thoughts about threads: by arithmetic, and by trial on a clock that the test turns."""

import pytest

from layup_jax.pipeline.base import PassTimes
from layup_jax.pipeline.ratio import Measured, Ratio
from layup_jax.pipeline.trial import Trial
from layup_jax.pipeline.tuner import Tuner


class Training:
    """Steps that take what the test says for the ratio in use, under a tuner."""

    def __init__(self, tuner, seconds, passes=(1.0, 1.0)):
        self.tuner, self.seconds, self.passes = tuner, seconds, passes
        self.ratio = tuner.first.ratio
        self.now = 0.0
        self.used, self.reasons = [], []

    def train(self, steps):
        for _ in range(steps):
            self.used.append(self.ratio.threads)
            self.now += self.seconds[self.ratio.threads]
            choice = self.tuner.after_step(self.ratio, self.now, self._times)
            if choice is not None:
                self.ratio = choice.ratio
                self.reasons += [choice.reason] * (choice.reason is not None)
        return self

    def _times(self):
        return PassTimes(*self.passes, (), ())


def _tuner(forward=1.0, backward=1.0, cores=2, **options):
    return Tuner(Measured(forward, backward, forward + backward), cores, **options)


def test_arithmetic_changes_only_what_is_worth_it():
    training = Training(_tuner(cores=1), {"1:1": 1.0}, passes=(3.0, 3.1)).train(600)
    assert (training.ratio, training.reasons) == (Ratio(1, 1, 1), [])
    slower = Training(_tuner(), {"1:1": 1.0, "1:2": 1.0}, passes=(0.1, 0.2)).train(50)
    assert slower.ratio == Ratio(1, 2, 2)
    assert slower.reasons[0].startswith("1:2 because a forward pass takes 666.67 ms")


def test_what_arithmetic_cannot_know_is_tried():
    seconds = {"1:1": 1.0, "1:2": 0.9, "1:3": 0.89, "2:2": 0.95}
    training = Training(_tuner(), seconds).train(1200)
    assert training.ratio == Ratio(1, 2, 2)
    assert training.reasons == [
        "1:2 because it did 1.11 times the steps of 1:1 in 6 blocks of 20 steps each",
        "1:2 because it did 0.99 times the steps of 1:3 in 6 blocks of 20 steps each",
        "1:2 because it did 1.06 times the steps of 2:2 in 6 blocks of 20 steps each",
    ]
    assert set(training.used[-200:]) == {"1:2"}


def test_never_more_threads_than_are_thought_of():
    seconds = {f"{f}:{b}": 1 / (f + b) for f in range(1, 9) for b in range(1, 9)}
    training = Training(_tuner(queue=4), seconds).train(3000)
    assert training.ratio == Ratio(1, 5, 4)


def test_on_one_core_nothing_is_tried():
    training = Training(_tuner(cores=1), {"1:1": 1.0}).train(2000)
    assert set(training.used) == {"1:1"}
    assert training.reasons == []


@pytest.mark.parametrize("drift", [0.0, 0.001])
def test_a_trial_pairs_its_blocks(drift):
    """A machine that gets slower all the time favours neither."""
    trial, now, used = Trial(Ratio(1, 1, 1), Ratio(1, 2, 2)), 0.0, []
    for step in range(300):
        used.append(trial.ratio)
        assert trial.gain is None
        now += (1.0 if trial.ratio.backward == 1 else 0.8) * (1 + drift * step)
        trial.count(now)
    assert trial.gain == pytest.approx(1.25, rel=0.01)
    assert used.count(Ratio(1, 2, 2)) == 150
