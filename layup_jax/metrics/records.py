"""What a run measures: the three kinds of line in metrics.jsonl, and the content of summary.json.

Nouns: `StepRecord`, `EvaluationRecord`, `NoteRecord` (lines), `RunSummary` (one per run).

    line = encode(StepRecord(rank=0, step=10, ...))   # {"kind": "step", "rank": 0, ...}
    assert decode(line) == StepRecord(rank=0, step=10, ...)

Mappings hold plain values only, fit for JSON; there None means absent, and a float that is not
finite is a string ("nan", "inf", "-inf"), because JSON has no number for it.
"""

from __future__ import annotations

import math
import typing
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

WAITING_CAUSES = (
    "data",
    "store",
    "queue_full",
    "queue_empty",
    "reply",
    "swap",
    "collective",
    "evaluation",
)
TIME_CAUSES = (
    "forward",
    "turn",
    "backward",
    "update",
    "communication",
    "waiting",
    "data",
    "evaluation",
)
_NOT_FINITE = ("nan", "inf", "-inf")


class StepRecord(NamedTuple):
    """One worker, every `log_every_steps` steps. Totals count from the start of the worker.

    Attributes:
      rank: of the worker, from 0.
      step: steps that this worker has finished.
      train_seconds: of training since the start; evaluation is not counted.
      loss: of the batch of this step, before its update.
      step_seconds: mean since the line before.
      samples: total.
      staleness: per segment, in versions, mean since the line before: how many other updates came
        between the read of a segment and the use of its gradient.
      messages_sent: total; pushes and one-segment exchanges.
      messages_received: total.
      sent_bytes: total, of parameters and weights, without protocol messages.
      waiting_seconds: total of all threads, per cause in `WAITING_CAUSES`.
      push_sum_weight_min: least over segments; None where the algorithm has no push-sum.
      push_sum_weight_max: greatest over segments; None likewise.
    """

    kind = "step"

    rank: int
    step: int
    train_seconds: float
    loss: float
    step_seconds: float
    samples: int
    staleness: tuple[float, ...]
    messages_sent: int
    messages_received: int
    sent_bytes: int
    waiting_seconds: Mapping[str, float]
    push_sum_weight_min: float | None = None
    push_sum_weight_max: float | None = None


class EvaluationRecord(NamedTuple):
    """One worker, at every evaluation.

    Attributes:
      rank: of the worker, from 0.
      step: steps that this worker had finished.
      train_seconds: of training since the start, without the evaluations.
      test_accuracy: of this worker's own model, in [0, 1].
      test_loss: of this worker's own model, mean over the test samples.
      mean_test_accuracy: of the weighted mean model, in [0, 1]; None except on rank 0, and where workers'
        own models alone are evaluated.
      consensus_distance: L2 norm of this worker's parameters minus the mean model's (0 does not mean
        equal accuracies: batch statistics are not in it); None if the mean model was not known.
    """

    kind = "evaluation"

    rank: int
    step: int
    train_seconds: float
    test_accuracy: float
    test_loss: float
    mean_test_accuracy: float | None = None
    consensus_distance: float | None = None


class NoteRecord(NamedTuple):
    """One worker has changed something by itself, or does what takes long, and says so.

    Attributes:
      rank: of the worker, from 0.
      step: steps that this worker had finished.
      train_seconds: of training since the start.
      text: what, and why.
    """

    kind = "note"

    rank: int
    step: int
    train_seconds: float
    text: str


class RunSummary(NamedTuple):
    """What is worth knowing after a run, over all workers.

    Attributes:
      algorithm: name of the strategy.
      mixing: name of the mixing rule.
      data_plane: mpi4jax or host; what was chosen if the configuration said auto.
      workers: how many.
      partition: in words, what was chosen.
      segments: of the model.
      steps_total: sum over workers.
      samples_total: sum over workers.
      samples_per_second: of all workers together while all train: the sum over workers of a worker's
        samples over its own seconds of training.
      wall_seconds: from the start of the run to its end.
      train_seconds: of the worker that trained longest.
      test_accuracy: of the weighted mean model, in [0, 1]; None if it was not evaluated.
      test_accuracy_per_worker: by rank; None for a worker that was not evaluated.
      test_loss: of the weighted mean model; None if it was not evaluated.
      consensus_distance: mean over workers of the L2 distance to the mean model.
      staleness_mean: in versions, over segments, steps and workers.
      push_sum_weight_error: greatest over segments of |sum over workers of the weight minus their
        number|; None without push-sum.
      messages_sent: sum over workers.
      sent_bytes: sum over workers.
      peak_rss_bytes: greatest over workers.
      peak_rss_bytes_per_worker: by rank.
      target: test accuracy whose time is wanted, of the mean model or of workers' own; None for none.
      time_to_target_seconds: of training until the mean model, or half of the workers' own models, had
        reached it (`evaluation.model`); None if it was not reached.
      status: finished, interrupted or failed.
      failure: one sentence; None unless status is failed.
      schedule: of forward and backward passes, in words.
      staleness_histogram: for each segment how many updates of all workers were 0, 1, 2, ... versions
        stale; the last count holds what is above it too, if there are 65.
      forward_seconds: mean of a forward pass; None where passes are not separate, here and below.
      backward_seconds: mean of a backward pass, updates included.
      update_delay_seconds: mean over segments of the time from the start of a backward pass to that of
        the segment's own part in it; with one segment to its update.
      update_delay_predicted_seconds: the same in theory, see `layup_jax.staleness`.
      queue_depth_mean: tapes that a backward thread found waiting, its own included.
      tapes_alive_max: most tapes of a worker at once.
      hosts: machines that the workers ran on; virtual ones count.
      emulated: whether layers slept to take as long as on another accelerator (`config.emulation`).
      delays: who was slowed down, and how (`config.delay`); empty if nobody was.
      step_flops: floating-point operations that the model needs for the forward and backward pass of one
        worker's batch, without the update; None without `profile`, and where it cannot be known, here and
        below.
      peak_flops_per_second: most that the hardware of one worker can do, mean over workers; of a core or
        device that several workers share, each has its part.
      mfu: model FLOPs utilisation, in [0, 1]: operations of all workers over `train_seconds` and what all
        cores or devices that they occupy could have done.
      time_split: seconds of a step by cause in `TIME_CAUSES`, of all compute threads of a worker, mean
        over workers; None too where dispatch is asynchronous, as on accelerators. forward, backward:
        passes, without waiting. turn: forward and backward pass of the last segment, where one call.
        update: the optimizer, taken out of turn and backward by what it was measured to cost alone.
        communication: requests and merges by compute threads (with ddp the optimizer too), and processor
        time of the communication thread, which where both share a core is in the other causes as well.
        waiting: for other threads and workers. data: the next batch. evaluation: during the run.
    """

    algorithm: str
    mixing: str
    data_plane: str
    workers: int
    partition: str
    segments: int
    steps_total: int
    samples_total: int
    samples_per_second: float
    wall_seconds: float
    train_seconds: float
    test_accuracy: float | None
    test_accuracy_per_worker: tuple[float | None, ...]
    test_loss: float | None
    consensus_distance: float | None
    staleness_mean: float
    push_sum_weight_error: float | None
    messages_sent: int
    sent_bytes: int
    peak_rss_bytes: int
    peak_rss_bytes_per_worker: tuple[int, ...]
    target: float | None
    time_to_target_seconds: float | None
    status: typing.Literal["finished", "interrupted", "failed"]
    failure: str | None = None
    schedule: str = "interleaved"
    staleness_histogram: tuple[tuple[int, ...], ...] = ()
    forward_seconds: float | None = None
    backward_seconds: float | None = None
    update_delay_seconds: float | None = None
    update_delay_predicted_seconds: float | None = None
    queue_depth_mean: float | None = None
    tapes_alive_max: int = 1
    hosts: int = 1
    emulated: bool = False
    delays: str = ""
    step_flops: float | None = None
    peak_flops_per_second: float | None = None
    mfu: float | None = None
    time_split: Mapping[str, float] | None = None


Line: TypeAlias = StepRecord | EvaluationRecord | NoteRecord
_KINDS: Mapping[str, type[Line]] = {
    each.kind: each for each in (StepRecord, EvaluationRecord, NoteRecord)
}


def encode(line: Line) -> dict[str, Any]:
    """The mapping of one line; floats stay as they are, `finite` comes after it."""
    return {"kind": line.kind, **line._asdict()}


def decode(mapping: Mapping[str, Any]) -> Line:
    """The inverse of `encode`, also after `finite` and JSON.

    Raises:
      KeyError, TypeError: not the mapping of a line.
    """
    values = dict(mapping)
    record_type = _KINDS[values.pop("kind")]
    return record_type(**{key: _restored(value) for key, value in values.items()})


def decode_summary(mapping: Mapping[str, Any]) -> RunSummary:
    """The inverse of `RunSummary._asdict`, also after `finite` and JSON."""
    return RunSummary(**{key: _restored(value) for key, value in mapping.items()})


def finite(value: Any) -> Any:
    """The same value with "nan", "inf" and "-inf" for floats that are not finite, however deep."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(float(value))
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return value


def _restored(value: Any) -> Any:
    """Floats for the strings of `finite`, tuples for lists."""
    if isinstance(value, str) and value in _NOT_FINITE:
        return float(value)
    if isinstance(value, Mapping):
        return {key: _restored(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return tuple(_restored(each) for each in value)
    return value
