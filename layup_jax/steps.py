"""What one worker has done so far: steps, samples, staleness, and the time between them.

steps.add(result)
steps.lap(seconds), steps.take_staleness()      # since the lap before
"""

from __future__ import annotations

import numpy as np

from layup_jax.pipeline.base import StepResult

_MOST_STALE = 64  # versions; the last count of a histogram holds what is above too


class Steps:
    """What a worker has done so far. Threads: one."""

    def __init__(self, num_segments: int):
        """Starts at step 0."""
        self.steps = 0
        self.samples = 0
        self.data_seconds = 0.0
        self.merge_seconds = 0.0
        self._counts = np.zeros((num_segments, _MOST_STALE + 1), np.int64)
        self._staleness = np.zeros(num_segments)
        self._staleness_before = np.zeros(num_segments)
        self._lap_steps = 0
        self._lap_seconds = 0.0

    def add(self, result: StepResult) -> None:
        """Counts one step."""
        self.steps += 1
        self.samples += result.samples
        for segment, versions in enumerate(result.staleness):
            if versions is not None:
                self._staleness[segment] += versions
                self._counts[segment, min(versions, _MOST_STALE)] += 1

    def lap(self, seconds: float) -> float:
        """Mean seconds of a step since the last lap, which also supplies `take_staleness`."""
        steps, self._lap_steps = self.steps - self._lap_steps, self.steps
        since, self._lap_seconds = seconds - self._lap_seconds, seconds
        self._per_step = 1 / max(steps, 1)
        return since * self._per_step

    def take_staleness(self) -> tuple[float, ...]:
        """Mean staleness of each segment over the lap just ended."""
        mean = (self._staleness - self._staleness_before) * self._per_step
        self._staleness_before = self._staleness.copy()
        return tuple(mean.tolist())

    def staleness_mean(self) -> float:
        """Mean over all steps and segments."""
        return float(np.sum(self._staleness)) / max(int(np.sum(self._counts)), 1)

    def staleness_histogram(self) -> tuple[tuple[int, ...], ...]:
        """For each segment how many updates were 0, 1, 2, ... versions stale; as long as need be."""
        stale = np.flatnonzero(self._counts.any(axis=0))
        length = int(stale[-1]) + 1 if stale.size else 1
        return tuple(tuple(row[:length].tolist()) for row in self._counts)
