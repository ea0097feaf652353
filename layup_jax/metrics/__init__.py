"""Metrics: what a run writes, shows and draws; read by people and by nothing in training.

Nouns: `RunFolder` (where files are), `StepRecord`, `EvaluationRecord` and `RunSummary` (what they
hold), `MetricsRecorder` and `TensorBoardWriter` (what writes them), `Progress` (what is shown).

    folder = RunFolder.create(config.output, config.name)
    with MetricsRecorder(folder.metrics(rank)) as recorder:
        recorder.write(StepRecord(rank=rank, step=10, ...))
    draw_figure(folder)

rich, matplotlib and tensorboardX are imported on first use, never by importing this.
"""

from layup_jax.metrics.console import open_console
from layup_jax.metrics.environment import Environment, describe_environment
from layup_jax.metrics.figure import draw_figure
from layup_jax.metrics.folder import RunFolder
from layup_jax.metrics.progress import Progress
from layup_jax.metrics.recorder import MetricsRecorder, read_metrics
from layup_jax.metrics.records import (
    TIME_CAUSES,
    WAITING_CAUSES,
    EvaluationRecord,
    Line,
    RunSummary,
    StepRecord,
)
from layup_jax.metrics.summary import print_summary
from layup_jax.metrics.tensorboard import TensorBoardWriter

__all__ = [
    "TIME_CAUSES",
    "WAITING_CAUSES",
    "Environment",
    "EvaluationRecord",
    "Line",
    "MetricsRecorder",
    "Progress",
    "RunFolder",
    "RunSummary",
    "StepRecord",
    "TensorBoardWriter",
    "describe_environment",
    "draw_figure",
    "open_console",
    "print_summary",
    "read_metrics",
]
