"""What one worker has written, as arrays to plot.

series = read_series(folder)             # one WorkerSeries per worker, killed ones too
plot(series[0].loss_seconds, smoothed(series[0].loss))
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from layup_jax.metrics.folder import RunFolder
from layup_jax.metrics.recorder import read_metrics
from layup_jax.metrics.records import EvaluationRecord, StepRecord

_EARLY = 0.9


class WorkerSeries(NamedTuple):
    """Curves of one worker; seconds are of training.

    Attributes:
      rank: of the worker.
      last_step: in its metrics; 0 if there is none.
      end_seconds: of its last line; 0 if there is none.
      loss_seconds: (n,).
      loss: (n,).
      samples: (n,), that the worker had trained on by then.
      accuracy_seconds: (m,).
      accuracy: (m,), of its own model, in [0, 1].
      mean_accuracy: (m,), of the mean model, NaN where unknown.
      waiting_seconds: of all threads, by cause; as in the worker's last `StepRecord`.
    """

    rank: int
    last_step: int
    end_seconds: float
    loss_seconds: np.ndarray
    loss: np.ndarray
    samples: np.ndarray
    accuracy_seconds: np.ndarray
    accuracy: np.ndarray
    mean_accuracy: np.ndarray
    waiting_seconds: Mapping[str, float]


def read_series(folder: RunFolder) -> tuple[WorkerSeries, ...]:
    """Reads the metrics of all workers that have any file of them, by rank."""
    return tuple(_read_worker(folder, rank) for rank in folder.ranks())


def ended_early(worker: WorkerSeries, others: tuple[WorkerSeries, ...]) -> bool:
    """Whether it stopped well before the others in time and in steps, as a killed worker does.

    A fast worker ends early in time alone, a straggler in steps alone.
    """
    seconds = max(each.end_seconds for each in others)
    steps = max(each.last_step for each in others)
    return worker.end_seconds < _EARLY * seconds and worker.last_step < _EARLY * steps


def smoothed(values: np.ndarray) -> np.ndarray:
    """Centred moving mean over a twentieth of the values; near the ends, over what there is.

    Args:
      values: (n,); those that are not finite are left out.

    Returns:
      (n,); NaN where a whole window was left out.
    """
    half = len(values) // 40
    known = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    low = np.maximum(np.arange(len(values)) - half, 0)
    high = np.minimum(np.arange(len(values)) + half + 1, len(values))
    number = counts[high] - counts[low]
    return np.where(number > 0, (sums[high] - sums[low]) / np.maximum(number, 1), np.nan)


def _read_worker(folder: RunFolder, rank: int) -> WorkerSeries:
    lines = read_metrics(folder.metrics(rank))
    steps = [line for line in lines if isinstance(line, StepRecord)]
    evaluations = [line for line in lines if isinstance(line, EvaluationRecord)]
    return WorkerSeries(
        rank=rank,
        last_step=max((line.step for line in lines), default=0),
        end_seconds=max((line.train_seconds for line in lines), default=0.0),
        loss_seconds=_array(line.train_seconds for line in steps),
        loss=_array(line.loss for line in steps),
        samples=_array(line.samples for line in steps),
        accuracy_seconds=_array(line.train_seconds for line in evaluations),
        accuracy=_array(line.test_accuracy for line in evaluations),
        mean_accuracy=_array(line.mean_test_accuracy for line in evaluations),
        waiting_seconds=steps[-1].waiting_seconds if steps else {},
    )


def _array(values) -> np.ndarray:
    """Floats, with NaN for None."""
    return np.array(list(values), dtype=np.float64)
