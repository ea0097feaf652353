"""A run that never took place: plausible metrics of a few workers, one of them killed early."""

import math

import numpy as np

from layup_jax.config import RunConfig
from layup_jax.metrics import (
    WAITING_CAUSES,
    EvaluationRecord,
    MetricsRecorder,
    RunFolder,
    RunSummary,
    StepRecord,
)


def step_record(rank=0, step=10, **changes) -> StepRecord:
    record = StepRecord(
        rank=rank,
        step=step,
        train_seconds=0.0065 * step,
        loss=2.3,
        step_seconds=0.0065,
        samples=32 * step,
        staleness=(1.5, 0.5, 0.0),
        messages_sent=3 * step,
        messages_received=3 * step - 1,
        sent_bytes=12_000 * step,
        waiting_seconds=dict.fromkeys(WAITING_CAUSES, 0.25),
    )
    return record._replace(**changes)


def evaluation_record(rank=0, step=50, **changes) -> EvaluationRecord:
    record = EvaluationRecord(
        rank=rank, step=step, train_seconds=0.0065 * step, test_accuracy=0.9, test_loss=0.3
    )
    return record._replace(**changes)


def summary(**changes) -> RunSummary:
    record = RunSummary(
        algorithm="layup",
        mixing="push_sum",
        data_plane="host",
        workers=4,
        partition="one segment per layer",
        segments=6,
        steps_total=1130,
        samples_total=36_160,
        samples_per_second=17_904.5,
        wall_seconds=4.5,
        train_seconds=2.02,
        test_accuracy=0.985,
        test_accuracy_per_worker=(0.98, 0.981, 0.979, None),
        test_loss=0.061,
        consensus_distance=0.42,
        staleness_mean=0.7,
        push_sum_weight_error=2e-7,
        messages_sent=6780,
        sent_bytes=81_000_000,
        peak_rss_bytes=412_000_000,
        peak_rss_bytes_per_worker=(412_000_000, 400_000_000, 401_000_000, 399_000_000),
        target=0.97,
        time_to_target_seconds=1.31,
        status="finished",
    )
    return record._replace(**changes)


def write_run(folder: RunFolder, *, workers=4, killed_at=140, steps=300) -> None:
    """Writes metrics of a run whose last worker was killed, in the middle of a line."""
    folder.write_config(RunConfig(name=folder.path.name))
    for rank in range(workers):
        generator = np.random.default_rng(rank)
        last = killed_at if rank == workers - 1 else steps
        pace = 1 + 0.04 * rank
        with MetricsRecorder(folder.metrics(rank)) as recorder:
            for step in range(2, last + 1, 2):
                seconds = 0.0065 * step * pace
                loss = 2.3 * math.exp(-3.2 * seconds) + 0.05
                loss *= math.exp(generator.normal(0, 0.25))
                recorder.write(step_record(rank, step, train_seconds=seconds, loss=loss))
                if step % 20 == 0:
                    accuracy = 0.985 - 0.88 * math.exp(-3.1 * seconds)
                    noisy = accuracy - abs(generator.normal(0, 0.02))
                    record = evaluation_record(rank, step, train_seconds=seconds)
                    record = record._replace(test_accuracy=noisy)
                    mean = accuracy if rank == 0 else None
                    recorder.write(record._replace(mean_test_accuracy=mean))
    if killed_at < steps:
        with folder.metrics(workers - 1).open("ab") as file:
            file.write(b'{"kind": "step", "rank"')
