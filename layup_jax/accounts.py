"""Where one worker's time went and what it has done, as lines of metrics and the summary say it.

accounts = Accounts(clock, communicator, merger, steps)
accounts.step_record(rank, loss, pipeline.statistics(), weights)      # a line of metrics.jsonl
accounts.spent_seconds(pipeline.statistics())                         # by cause, for the summary
"""

from __future__ import annotations

from collections.abc import Sequence

from layup_jax.clock import WallClock
from layup_jax.engine.merger import Merger
from layup_jax.metrics.records import StepRecord
from layup_jax.pipeline.base import PipelineStatistics
from layup_jax.steps import Steps
from layup_jax.transport.communicator import Communicator


class Accounts:
    """Puts together what the parts of a worker have counted. Threads: one."""

    def __init__(self, clock: WallClock, communicator: Communicator, merger: Merger, steps: Steps):
        """Takes whom to ask."""
        self._clock = clock
        self._communicator = communicator
        self._merger = merger
        self._steps = steps

    def step_record(
        self, rank: int, loss: float, pipeline: PipelineStatistics, weights: Sequence[float]
    ) -> StepRecord:
        """The line of the step that has just ended; begins a new lap.

        Args:
          rank: of this worker.
          loss: of the step.
          pipeline: what it has measured so far.
          weights: of push-sum, by segment; empty without.
        """
        steps, counts, seconds = self._steps, self._communicator.statistics(), self._clock.now()
        return StepRecord(
            rank=rank,
            step=steps.steps,
            train_seconds=seconds,
            loss=loss,
            step_seconds=steps.lap(seconds),
            samples=steps.samples,
            staleness=steps.take_staleness(),
            messages_sent=counts.messages_sent,
            messages_received=counts.messages_received,
            sent_bytes=counts.sent_bytes,
            waiting_seconds={
                "data": steps.data_seconds,
                "store": pipeline.store_seconds,
                "queue_full": pipeline.queue.full_seconds if pipeline.queue else 0.0,
                "queue_empty": pipeline.queue.empty_seconds if pipeline.queue else 0.0,
                "reply": counts.reply_seconds,
                "swap": counts.swap_seconds,
                "collective": self._merger.waited_seconds,
                "evaluation": self._clock.paused_seconds(),
            },
            push_sum_weight_min=min(weights, default=None),
            push_sum_weight_max=max(weights, default=None),
        )

    def spent_seconds(self, pipeline: PipelineStatistics) -> dict[str, float]:
        """By cause, so far; see `RunSummary.time_split`."""
        spent, waited = dict(pipeline.spent_seconds), self._merger.waited_seconds
        merged = max(0.0, spent.get("communication", 0.0) + self._steps.merge_seconds - waited)
        queue = pipeline.queue
        queued = queue.full_seconds + queue.empty_seconds if queue else 0.0
        return spent | {
            "communication": merged + self._communicator.statistics().thread_seconds,
            "waiting": pipeline.store_seconds + queued + waited,
            "data": self._steps.data_seconds,
            "evaluation": self._clock.paused_seconds(),
        }
