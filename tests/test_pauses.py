"""Artificial pauses: functions of seed, rank and number, with the distribution that was asked for."""

import numpy as np
import pytest

from layup_jax.draws import Draws
from layup_jax.pauses import Pauses


def _lengths(count=12, **changes):
    pauses = Pauses(**({"seconds": 0.5} | changes))
    return [pauses.seconds_of(number) for number in range(count)]


def test_without_a_pattern_all_are_alike():
    assert _lengths() == [0.5] * 12
    assert _lengths(seconds=0.0, pattern="exponential") == [0.0] * 12


@pytest.mark.parametrize(("every", "expected"), [(1, [0.5] * 6), (3, [0, 0, 0.5, 0, 0, 0.5])])
def test_one_of_so_many(every, expected):
    assert _lengths(6, pattern="every", every=every) == expected


def test_exponential_ones_are_exponential():
    lengths = np.array(_lengths(4000, pattern="exponential", draws=Draws(3, 1)))
    # Kolmogorov-Smirnov: beyond 1.95 / sqrt(n) once in a thousand; the numbers are fixed.
    expected = 1 - np.exp(-np.sort(lengths) / 0.5)
    assert np.max(np.abs(expected - np.arange(4000) / 4000)) < 1.95 / np.sqrt(4000)
    assert np.mean(lengths) == pytest.approx(0.5, rel=0.06)  # four standard errors


def test_exponential_ones_repeat_by_seed_rank_and_stream():
    def drawn(seed=0, rank=0, stream=0):
        return _lengths(pattern="exponential", draws=Draws(seed, rank), stream=stream)

    assert drawn(1, 2, 3) == drawn(1, 2, 3)
    drawings = [drawn(), drawn(seed=1), drawn(rank=1), drawn(stream=1)]
    assert len({tuple(each) for each in drawings}) == 4
