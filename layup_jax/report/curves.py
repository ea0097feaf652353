"""Curves of workers, and the band that they fill.

band = make_band([accuracy_by_seconds(run) for run in group.runs])
plot(band.x, band.mean, band.low, band.high)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from layup_jax.metrics.series import smoothed
from layup_jax.report.comparison import Run

_MOST_POINTS = 400
_LATE = 2.0


class Curve(NamedTuple):
    """One worker; all values are finite.

    Attributes:
      x: (n,), not falling.
      y: (n,).
    """

    x: np.ndarray
    y: np.ndarray


class Band(NamedTuple):
    """Several workers.

    Attributes:
      x: (m,), rising.
      mean: (m,), over the curves that have begun.
      low: (m,), the least of these.
      high: (m,), the greatest.
    """

    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def accuracy_by_seconds(run: Run) -> list[Curve]:
    """Test accuracy (%) of each worker against seconds of training."""
    return [_curve(each.accuracy_seconds, 100 * each.accuracy) for each in run.series]


def accuracy_by_samples(run: Run) -> list[Curve]:
    """Test accuracy (%) of each worker against the samples that all workers had trained on by then."""
    return [
        _curve(_samples_by(run, each.accuracy_seconds), 100 * each.accuracy) for each in run.series
    ]


def loss_by_seconds(run: Run) -> list[Curve]:
    """Training loss of each worker, smoothed, against seconds of training."""
    return [_curve(each.loss_seconds, smoothed(each.loss)) for each in run.series]


def loss_by_samples(run: Run) -> list[Curve]:
    """The same against the samples that all workers had trained on by then."""
    return [_curve(_samples_by(run, each.loss_seconds), smoothed(each.loss)) for each in run.series]


def make_band(curves_of_runs: Sequence[Sequence[Curve]]) -> Band:
    """Mean and range over all workers of all runs, whose curves are known at different places.

    Between its points a curve is straight. Before its first it does not count; after its last it
    keeps its value, as the model of a worker that has stopped does. The band begins where all curves
    have begun but those of stragglers, more than twice as late as the median of their run.

    Returns:
      At most some hundred points; none if no curve has any.
    """
    runs = [[curve for curve in curves if curve.x.size] for curves in curves_of_runs]
    curves = [curve for run in runs for curve in run]
    if not curves:
        return Band(*[np.empty(0)] * 4)
    begin = max(_begin(run) for run in runs if run)
    x = np.unique(np.concatenate([curve.x for curve in curves]))
    x = x[x >= begin]
    if x.size > _MOST_POINTS:
        x = x[np.linspace(0, x.size - 1, _MOST_POINTS).astype(int)]
    y = np.stack([np.interp(x, curve.x, curve.y, left=np.nan) for curve in curves])
    return Band(x, np.nanmean(y, axis=0), np.nanmin(y, axis=0), np.nanmax(y, axis=0))


def _begin(curves: Sequence[Curve]) -> float:
    begins = np.array([curve.x[0] for curve in curves])
    median = np.quantile(begins, 0.5, method="lower")
    return begins[begins <= _LATE * median].max()


def _curve(x: np.ndarray, y: np.ndarray) -> Curve:
    known = np.isfinite(x) & np.isfinite(y)
    return Curve(x[known], y[known])


def _samples_by(run: Run, seconds: np.ndarray) -> np.ndarray:
    """Samples of all workers after so many seconds, between two lines of metrics in proportion."""
    total = np.zeros_like(seconds)
    for each in run.series:
        x, y = np.append(0.0, each.loss_seconds), np.append(0.0, each.samples)
        total += np.interp(seconds, x, y)
    return total
