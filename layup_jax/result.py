"""What one worker has to say of its run, for the summary of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from layup_jax.costs import Costs
from layup_jax.evaluations import Measured
from layup_jax.hardware import Hardware
from layup_jax.pipeline.base import PipelineStatistics
from layup_jax.transport.communicator import CommunicationStatistics


class WorkerResult(NamedTuple):
    """What one worker reports at the end.

    Attributes:
      rank: of the worker.
      interrupted: whether it was told to stop early.
      failure: the sentence of what went wrong here; None if nothing did.
      steps: trained.
      samples: trained.
      train_seconds: from start to last step, evaluation left out.
      wall_seconds: from start until every worker had finished.
      final: evaluation at the end; None after a failure.
      time_to_target_seconds: of training until the evaluated model, the mean one or this worker's,
        reached the target; of the mean model on rank 0 only.
      staleness_mean: over steps and segments.
      staleness_histogram: for each segment how many updates were 0, 1, 2, ... versions stale.
      schedule: of passes, in words.
      pipeline: what it has measured.
      communication: counts of the communication thread.
      peak_rss_bytes: largest resident memory of the process.
      host: name of the machine; only the number of different ones is written down.
      hardware: that it computed on; None if that was not asked for.
      costs: of a step, as rank 0 has measured them; None likewise and elsewhere.
      spent: seconds by cause; None where the host does not know.
    """

    rank: int
    interrupted: bool
    failure: str | None
    steps: int
    samples: int
    train_seconds: float
    wall_seconds: float
    final: Measured | None
    time_to_target_seconds: float | None
    staleness_mean: float
    staleness_histogram: tuple[tuple[int, ...], ...]
    schedule: str
    pipeline: PipelineStatistics
    communication: CommunicationStatistics
    peak_rss_bytes: int
    host: str
    hardware: Hardware | None = None
    costs: Costs | None = None
    spent: Mapping[str, float] | None = None
