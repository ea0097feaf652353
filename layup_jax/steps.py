"""What one worker has done so far: steps, samples, staleness, and the time its data took.

steps.add(result, samples=32)
steps.lap(seconds), steps.take_staleness()      # since the lap before
"""

from __future__ import annotations

import numpy as np

from layup_jax.pipeline.interleaved import StepResult


class Steps:
    """What a worker has done so far. Threads: one."""

    def __init__(self, num_segments: int):
        """Starts at step 0."""
        self.steps = 0
        self.samples = 0
        self.data_seconds = 0.0
        self._staleness = np.zeros(num_segments)
        self._staleness_before = np.zeros(num_segments)
        self._lap_steps = 0
        self._lap_seconds = 0.0

    def add(self, result: StepResult, samples: int) -> None:
        """Counts one step."""
        self.steps += 1
        self.samples += samples
        self._staleness += result.staleness

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
        return float(np.mean(self._staleness)) / max(self.steps, 1)
