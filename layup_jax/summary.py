"""The summary of a run: what all workers report, put together."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from statistics import fmean, median_low

import numpy as np

from layup_jax.config import RunConfig
from layup_jax.costs import split, utilization
from layup_jax.hardware import occupied_flops_per_second
from layup_jax.metrics.records import TIME_CAUSES, RunSummary
from layup_jax.pipeline.base import PassTimes
from layup_jax.result import WorkerResult
from layup_jax.staleness import measured_delay, predicted_delay
from layup_jax.strategies import Strategy


def push_sum_weight_error(weights: np.ndarray, workers: int) -> float:
    """Largest over segments of |sum of weights over workers - workers| / workers."""
    return float(np.max(np.abs(weights - workers))) / workers


def summarise(
    config: RunConfig,
    results: Sequence[WorkerResult],
    *,
    strategy: Strategy,
    data_plane: str,
    partition: str,
    segments: int,
) -> RunSummary:
    """Puts the results of all workers together.

    Args:
      config: of the run.
      results: by rank; those of a failed run have no final evaluation.
      strategy: of the run.
      data_plane: that moved the messages.
      partition: what was chosen, in words.
      segments: of the model.
    """
    failures = [each.failure for each in results if each.failure]
    finals = [each.final for each in results if each.final is not None]
    whole = len(finals) == len(results)
    mean = finals[0].mean if whole else None
    samples = sum(each.samples for each in results)
    train_seconds = max(each.train_seconds for each in results)
    own = [final.own for final in finals if final.own is not None]
    interrupted = any(each.interrupted for each in results)
    queues = [each.pipeline.queue for each in results if each.pipeline.queue]
    return RunSummary(
        algorithm=strategy.name,
        mixing=strategy.mixing,
        data_plane=data_plane if strategy.asks else "none",
        workers=len(results),
        partition=partition,
        segments=segments,
        steps_total=sum(each.steps for each in results),
        samples_total=samples,
        samples_per_second=sum(each.samples / max(each.train_seconds, 1e-9) for each in results),
        wall_seconds=max(each.wall_seconds for each in results),
        train_seconds=train_seconds,
        test_accuracy=None if mean is None else mean.metric,
        test_accuracy_per_worker=tuple(each.metric for each in own),
        test_loss=None if mean is None else mean.loss,
        consensus_distance=_root_mean_square([final.distance for final in finals]),
        staleness_mean=sum(each.staleness_mean for each in results) / len(results),
        push_sum_weight_error=(
            push_sum_weight_error(finals[0].weights, len(results)) if whole else None
        ),
        messages_sent=sum(each.communication.messages_sent for each in results),
        sent_bytes=sum(each.communication.sent_bytes for each in results),
        peak_rss_bytes=max(each.peak_rss_bytes for each in results),
        peak_rss_bytes_per_worker=tuple(each.peak_rss_bytes for each in results),
        target=config.evaluation.target,
        time_to_target_seconds=_time_to_target(config, results),
        status="failed" if not whole else "interrupted" if interrupted else "finished",
        failure=failures[0] if failures else None,
        schedule=results[0].schedule,
        staleness_histogram=_added([each.staleness_histogram for each in results]),
        queue_depth_mean=fmean(each.depth_mean for each in queues) if queues else None,
        tapes_alive_max=max(each.pipeline.tapes_alive_max for each in results),
        hosts=len({each.host for each in results}),
        emulated=config.emulation.is_set,
        delays=config.delay.describe(),
        **({} if config.emulation.is_set else _utilization(results, train_seconds)),
        time_split=_time_split(results),
        **_pass_times([each.pipeline.times for each in results if each.pipeline.times]),
    )


def _time_to_target(config: RunConfig, results: Sequence[WorkerResult]) -> float | None:
    """Rank 0's where the mean model is evaluated; else when half of the workers had got there."""
    times = [each.time_to_target_seconds for each in results]
    if config.evaluation.model == "mean":
        return times[0]
    middle = median_low(math.inf if each is None else each for each in times)
    return middle if math.isfinite(middle) else None


def _utilization(results: Sequence[WorkerResult], train_seconds: float) -> dict[str, float | None]:
    """What could be known of operations, and of the hardware for them."""
    costs = results[0].costs
    hardware = [each.hardware for each in results if each.hardware is not None]
    if costs is None or len(hardware) < len(results):
        return {}
    peak = occupied_flops_per_second(hardware)
    mfu = None
    if costs.flops is not None:
        flops = costs.flops / costs.samples * sum(each.samples for each in results)
        mfu = utilization(flops, train_seconds, peak)
    return {
        "step_flops": costs.flops,
        "peak_flops_per_second": None if peak is None else peak / len(results),
        "mfu": mfu,
    }


def _time_split(results: Sequence[WorkerResult]) -> dict[str, float] | None:
    """Means over workers; None where one of them does not know."""
    costs = results[0].costs
    if costs is None:
        return None
    known = [split(each.spent, costs, each.steps) for each in results if each.spent is not None]
    if len(known) < len(results):
        return None
    return {cause: fmean(each[cause] for each in known) for cause in TIME_CAUSES}


def _pass_times(times: Sequence[PassTimes]) -> dict[str, float]:
    """Means over workers of what their passes took, and of how long updates waited in them."""
    if not times:
        return {}
    segments = len(times[0].started_seconds)
    delays = [measured_delay(each.started_seconds, each.updated_seconds) for each in times]
    theory = [
        predicted_delay(each.forward_seconds, each.backward_seconds, segments) for each in times
    ]
    return {
        "forward_seconds": fmean(each.forward_seconds for each in times),
        "backward_seconds": fmean(each.backward_seconds for each in times),
        "update_delay_seconds": fmean(delays),
        "update_delay_predicted_seconds": fmean(theory),
    }


def _added(histograms: Sequence[tuple[tuple[int, ...], ...]]) -> tuple[tuple[int, ...], ...]:
    """The counts of all workers together, by segment."""
    by_segment = zip(*histograms, strict=True)
    return tuple(
        tuple(sum(counts) for counts in itertools.zip_longest(*rows, fillvalue=0))
        for rows in by_segment
    )


def _root_mean_square(values: Sequence[float]) -> float | None:
    if not values:
        return None
    return math.sqrt(sum(value**2 for value in values) / len(values))
