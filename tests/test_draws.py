"""Random numbers by name: repeatable, uniform, and different for different names."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from layup_jax.draws import Draws

words = st.lists(st.integers(0, 2**63), max_size=4)


@given(st.integers(0, 2**63), st.integers(0, 10**4), words)
def test_a_name_has_one_number(seed, rank, words):
    number = Draws(seed, rank).uniform(*words)
    assert 0 <= number < 1
    assert number == Draws(seed, rank).uniform(*words)


def test_names_that_differ_have_numbers_that_differ():
    names = itertools.product(range(6), repeat=4)
    numbers = {Draws(seed, rank).uniform(a, b) for seed, rank, a, b in names}
    assert len(numbers) == 6**4
    assert Draws(0, 0).uniform(1) != Draws(0, 0).uniform(1, 0)


def test_numbers_are_uniform():
    steps = np.array(
        [[Draws(3, rank).uniform(1, step) for step in range(1000)] for rank in range(4)]
    )
    counts, _ = np.histogram(steps, bins=20, range=(0, 1))
    # Chi-square with 19 degrees of freedom exceeds 43.8 once in a thousand; the numbers are fixed.
    assert np.sum((counts - 200) ** 2 / 200) < 43.8


def test_workers_are_uncorrelated():
    steps = np.array(
        [[Draws(3, rank).uniform(1, step) for step in range(1000)] for rank in range(4)]
    )
    correlations = np.corrcoef(steps) - np.eye(4)
    assert np.max(np.abs(correlations)) < 0.11  # 3.5 standard deviations of 1 / sqrt(1000)
