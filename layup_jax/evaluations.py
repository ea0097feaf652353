"""Evaluations of one worker: of its own model at once, of the mean model when all have got there.

evaluations.ask(step, seconds, store.snapshot())     # contributes, waits for nobody
evaluations.collect()                                # later: what has become known
evaluations.look(step, seconds, store.snapshot())    # its own model alone: nothing is sent
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from layup_jax.engine.evaluate import (
    Evaluation,
    Evaluator,
    Model,
    consensus_distance,
    contribution,
    contribution_size,
    mean_model,
    model_of,
)
from layup_jax.errors import DataError
from layup_jax.metrics.records import EvaluationRecord
from layup_jax.strategies.base import Strategy
from layup_jax.transport.reductions import Reduction, Reductions
from layup_jax.types import Array, PyTree, SegmentState

_MOST_OUTSTANDING = 2


class Measured(NamedTuple):
    """One evaluation, as far as it is known.

    Attributes:
      step: of this worker, when it was asked for.
      train_seconds: then.
      own: this worker's model; None without test data.
      mean: the mean model; on rank 0 only, None elsewhere.
      distance: of this worker's model to the mean model.
      weights: sum over workers of each segment's weight.
    """

    step: int
    train_seconds: float
    own: Evaluation | None
    mean: Evaluation | None
    distance: float
    weights: np.ndarray


class _Score(NamedTuple):
    train_seconds: float
    metric: float


class _Asked(NamedTuple):
    step: int
    train_seconds: float
    model: Model | None
    own: Evaluation | None
    reduction: Reduction


class Evaluations:
    """A queue of evaluations whose mean models are under way.

    A worker that is more than two evaluations ahead of the slowest contributes nothing to further ones,
    so memory stays bounded. Threads: the compute thread.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        strategy: Strategy,
        reductions: Reductions,
        rank: int,
        report: Callable[[EvaluationRecord], None],
        test: PyTree | None,
    ):
        """Takes what it measures with, and where records go; `test` None measures distances only."""
        self._evaluator = evaluator
        self._strategy = strategy
        self._reductions = reductions
        self._rank = rank
        self._report = report
        self._test = test
        self._asked: deque[_Asked] = deque()
        self._own_scores: list[_Score] = []
        self._mean_scores: list[_Score] = []
        self.measured: list[Measured] = []
        self.final_mean: Model | None = None

    def warm_up(self, states: Sequence[SegmentState]) -> None:
        """Compiles everything that evaluations call; reports and contributes nothing.

        Args:
          states: of a model that is not trained yet.

        Raises:
          DataError: test data on which that model's loss is not finite.
          ModelError: see `Evaluator.check`.
        """
        model = model_of(states)
        if self._test is not None:
            self._evaluator.check(model, self._test)
            _require_finite(self._evaluator(model, self._test).loss)
        total = np.asarray(contribution(model, self._weights(states)))
        mean, _ = mean_model(total, model)
        consensus_distance(model, mean)

    def ask(self, step: int, train_seconds: float, states: Sequence[SegmentState]) -> None:
        """Evaluates this worker's model and contributes it to the mean."""
        model = model_of(states)
        own = None if self._test is None else self._evaluator(model, self._test)
        vector = None
        if self._reductions.outstanding < _MOST_OUTSTANDING:
            vector = np.array(contribution(model, self._weights(states)))
        reduction = self._reductions.ask(vector, contribution_size(model))
        # A copy: the next step may overwrite the parameters in place.
        kept = None if vector is None else jax.tree.map(jnp.copy, model)
        self._asked.append(_Asked(step, train_seconds, kept, own, reduction))

    def look(self, step: int, train_seconds: float, states: Sequence[SegmentState]) -> None:
        """Evaluates this worker's model and reports it; without test data there is nothing to say."""
        if self._test is None:
            return
        own = self._evaluator(model_of(states), self._test)
        self._own_scores.append(_Score(train_seconds, own.metric))
        self._report(EvaluationRecord(self._rank, step, train_seconds, own.metric, own.loss))

    def is_due(self) -> bool:
        """Whether `collect` has something to do."""
        return bool(self._asked) and self._asked[0].reduction.ready()

    def collect(self) -> None:
        """Reports all evaluations whose mean model has become known."""
        while self.is_due():
            self._finish(self._asked.popleft())

    def finish(self, refine: Callable[[Model], Model] = lambda mean: mean) -> Measured:
        """Reports the last evaluation, whose sum is known, and keeps its mean model.

        Args:
          refine: makes another model of the mean model, which is then what is evaluated and kept.
        """
        asked = self._asked.popleft()
        mean, weights = mean_model(asked.reduction.total, asked.model)
        self.final_mean = refine(mean)
        self._measure(asked, self.final_mean, weights)
        return self.measured[-1]

    def time_to(self, target: float | None, *, of_mean: bool) -> float | None:
        """Training seconds until the mean model, or this worker's own, first did so well.

        Returns:
          None if it never did, if on this rank it is not known, or without a target.
        """
        if target is None:
            return None
        scores = self._mean_scores if of_mean else self._own_scores
        return next((each.train_seconds for each in scores if each.metric >= target), None)

    def _weights(self, states: Sequence[SegmentState]) -> list[Array]:
        return [self._strategy.weight(state) for state in states]

    def _finish(self, asked: _Asked) -> None:
        if asked.model is not None:
            self._measure(asked, *mean_model(asked.reduction.total, asked.model))

    def _measure(self, asked: _Asked, mean: Model, weights: Array) -> None:
        measures = self._rank == 0 and self._test is not None
        result = Measured(
            step=asked.step,
            train_seconds=asked.train_seconds,
            own=asked.own,
            mean=self._evaluator(mean, self._test) if measures else None,
            distance=float(consensus_distance(asked.model, mean)),
            weights=np.asarray(weights),
        )
        self.measured.append(result)
        for scores, each in ((self._own_scores, result.own), (self._mean_scores, result.mean)):
            if each is not None:
                scores.append(_Score(asked.train_seconds, each.metric))
        self._report(_record(self._rank, result))


def _require_finite(loss: float) -> None:
    if not math.isfinite(loss):
        raise DataError(
            f"the loss on the test data must be finite, got {loss} before any training; look at their "
            "inputs and labels"
        )


def _record(rank: int, result: Measured) -> EvaluationRecord:
    own, mean = result.own, result.mean
    return EvaluationRecord(
        rank=rank,
        step=result.step,
        train_seconds=result.train_seconds,
        test_accuracy=math.nan if own is None else own.metric,
        test_loss=math.nan if own is None else own.loss,
        mean_test_accuracy=None if mean is None else mean.metric,
        consensus_distance=result.distance,
    )
