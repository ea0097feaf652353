"""The summary puts the results of all workers together, of failed runs too."""

import json
import math

import numpy as np
import optax
import pytest

from layup_jax.config import validated
from layup_jax.costs import Costs
from layup_jax.engine.evaluate import Evaluation
from layup_jax.evaluations import Measured
from layup_jax.hardware import Hardware
from layup_jax.metrics import TIME_CAUSES
from layup_jax.metrics.records import decode_summary
from layup_jax.pipeline.base import PassTimes, PipelineStatistics
from layup_jax.pipeline.queue import QueueStatistics
from layup_jax.result import WorkerResult
from layup_jax.strategies import Setup, make_strategy
from layup_jax.summary import push_sum_weight_error, summarise
from layup_jax.transport.communicator import CommunicationStatistics

PASSES = PassTimes(0.25, 0.5, (0.375, 0.0), (0.5, 0.125))


def _result(rank, **changes):
    own = Evaluation(loss=1.0 + rank, metric=0.5 + rank / 10)
    mean = Evaluation(loss=0.75, metric=0.875) if rank == 0 else None
    final = Measured(9, 2.0, own, mean, distance=3.0 + rank, weights=np.array([2.0, 2.0]))
    record = WorkerResult(
        rank=rank,
        interrupted=False,
        failure=None,
        steps=10 * (rank + 1),
        samples=80 * (rank + 1),
        train_seconds=2.0 * (rank + 1),
        wall_seconds=5.0,
        final=final,
        time_to_target_seconds=1.25 if rank == 0 else None,
        staleness_mean=0.5 * rank,
        staleness_histogram=((1, 2), (3,)) if rank else ((4,), (5, 0, 1)),
        schedule="decoupled 1:2, queue 2, stored weights",
        pipeline=PipelineStatistics(
            0.5, {}, PASSES, QueueStatistics(9, 1.5 + rank, 2, 0.1, 0.2), 3 + rank
        ),
        communication=CommunicationStatistics(7, 7, 100, 9, 2, 1, 0.1, 0.2, 0.3),
        peak_rss_bytes=1000 * (rank + 1),
        host=f"host{rank}",
    )
    return record._replace(**changes)


def _summary(*results, algorithm="layup", model="mean", **groups):
    config = validated({"strategy": {"name": algorithm}, "evaluation": {"model": model}} | groups)
    strategy = make_strategy(Setup(config.strategy, optax.sgd(0.1), len(results)))
    return summarise(
        config,
        results,
        strategy=strategy,
        data_plane="host",
        partition="in words",
        segments=2,
    )


def test_adds_up_what_workers_report():
    summary = _summary(_result(0), _result(1))
    assert (summary.status, summary.failure, summary.workers) == ("finished", None, 2)
    assert (summary.steps_total, summary.samples_total) == (30, 240)
    assert (summary.messages_sent, summary.sent_bytes) == (14, 200)
    assert (summary.train_seconds, summary.wall_seconds) == (4.0, 5.0)
    assert summary.samples_per_second == pytest.approx(80 / 2 + 160 / 4)
    assert summary.staleness_mean == pytest.approx(0.25)
    assert summary.peak_rss_bytes_per_worker == (1000, 2000)
    assert summary.peak_rss_bytes == 2000
    assert summary.hosts == 2


def test_the_result_is_that_of_the_mean_model():
    summary = _summary(_result(0), _result(1))
    assert (summary.test_accuracy, summary.test_loss) == (0.875, 0.75)
    assert summary.test_accuracy_per_worker == pytest.approx((0.5, 0.6))
    assert summary.time_to_target_seconds == 1.25
    assert summary.consensus_distance == pytest.approx(math.sqrt((9 + 16) / 2))
    assert summary.push_sum_weight_error == 0


@pytest.mark.parametrize(
    ("times", "expected"),
    [((3.0, 1.0, None, 2.0), 2.0), ((None, 1.0, None, 2.0), 2.0), ((None, 1.0, None, None), None)],
)
def test_of_own_models_half_must_have_reached_the_target(times, expected):
    results = [_result(rank, time_to_target_seconds=time) for rank, time in enumerate(times)]
    assert _summary(*results, model="own").time_to_target_seconds == expected


def test_a_failed_worker_leaves_its_sentence_and_no_result():
    failed = _result(1, final=None, failure="the loss must be finite")
    summary = _summary(_result(0, final=None, failure="worker 1 failed first"), failed)
    assert summary.status == "failed"
    assert (summary.test_accuracy, summary.consensus_distance) == (None, None)
    assert summary.push_sum_weight_error is None


def test_an_interrupted_run_says_so():
    assert _summary(_result(0), _result(1, interrupted=True)).status == "interrupted"


@pytest.mark.parametrize("algorithm", ["local", "fused"])
def test_without_communication_there_is_no_mixing_and_no_data_plane(algorithm):
    summary = _summary(_result(0), algorithm=algorithm)
    assert (summary.mixing, summary.data_plane) == ("none", "none")


HARDWARE = Hardware(("core 0",), 50.0)
COSTS = Costs(flops=64.0, samples=8, update_share=0.5, turned_share=0.0)


def _profiled(rank, **changes):
    costs = COSTS if rank == 0 else None
    spent = {"forward": 10.0 * (rank + 1), "backward": 30.0 * (rank + 1)}
    return _result(rank, hardware=HARDWARE, costs=costs, spent=spent)._replace(**changes)


def test_mfu_is_of_the_cores_that_all_workers_occupy():
    summary = _summary(_profiled(0), _profiled(1))
    assert (summary.step_flops, summary.peak_flops_per_second) == (64.0, 25.0)
    assert summary.mfu == pytest.approx(240 / 8 * 64 / (4 * 50))  # 240 samples in 4 s
    apart = _summary(_profiled(0), _profiled(1, hardware=Hardware(("core 1",), 50.0)))
    assert apart.mfu == pytest.approx(summary.mfu / 2)
    assert apart.peak_flops_per_second == 50.0


def test_mfu_is_absent_where_the_hardware_or_the_model_is_not_known():
    unknown = _summary(_profiled(0), _profiled(1, hardware=Hardware(("device 0",), None)))
    assert (unknown.step_flops, unknown.peak_flops_per_second, unknown.mfu) == (64.0, None, None)
    uncounted = _summary(_profiled(0, costs=COSTS._replace(flops=None)))
    assert (uncounted.step_flops, uncounted.peak_flops_per_second, uncounted.mfu) == (
        None,
        50,
        None,
    )
    plain = _summary(_result(0))
    assert (plain.step_flops, plain.mfu, plain.time_split) == (None, None, None)


def test_an_emulated_accelerator_has_no_mfu():
    summary = _summary(_profiled(0), _profiled(1), emulation={"forward_seconds": 0.1})
    assert (summary.step_flops, summary.mfu) == (None, None)
    assert summary.time_split is not None


def test_time_is_split_by_cause_as_a_mean_over_workers():
    summary = _summary(_profiled(0), _profiled(1))
    seconds = dict.fromkeys(TIME_CAUSES, 0.0) | {"forward": 1.0, "backward": 1.0, "update": 2.0}
    assert summary.time_split == pytest.approx(seconds)
    assert decode_summary(json.loads(json.dumps(summary._asdict()))) == summary
    assert _summary(_profiled(0), _profiled(1, spent=None)).time_split is None


def test_the_schedule_is_summed_up():
    summary = _summary(_result(0), _result(1))
    assert summary.schedule == "decoupled 1:2, queue 2, stored weights"
    assert summary.staleness_histogram == ((5, 2), (8, 0, 1))
    assert (summary.forward_seconds, summary.backward_seconds) == (0.25, 0.5)
    assert summary.update_delay_seconds == pytest.approx(0.375 / 2)
    assert summary.update_delay_predicted_seconds == pytest.approx(0.5 * 1 / (2 * 2))
    assert (summary.queue_depth_mean, summary.tapes_alive_max) == (2.0, 4)


def test_passes_that_are_not_separate_have_no_times():
    plain = PipelineStatistics(0.0, {})
    summary = _summary(_result(0, pipeline=plain), _result(1, pipeline=plain))
    assert (summary.forward_seconds, summary.update_delay_seconds) == (None, None)
    assert (summary.queue_depth_mean, summary.tapes_alive_max) == (None, 1)


def test_the_weight_error_is_the_largest_relative_one():
    assert push_sum_weight_error(np.array([4.0, 3.0, 4.5]), 4) == 0.25
