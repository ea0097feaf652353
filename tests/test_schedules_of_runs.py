"""Whole runs on every schedule: workers that are threads of this process, with every strategy."""

import threading
import time

import jax
import numpy as np
import optax
import pytest
import tiny
from local_runs import ALGORITHMS, COLLECTIVES, Sink, endless_batches, make_config, make_task
from pipeline.schedules import SLOPES, mean_output, ones, sloping_model

import layup_jax
from layup_jax.errors import ConfigError, DataError, NonFiniteError
from layup_jax.metrics.records import NoteRecord, StepRecord

KEEPS_THE_SUM = [
    "pairwise",
    "ad_psgd",
    "pd_asgd",
    "lap_sgd",
    "hogwild",
    "d_psgd",
    "sgp",
]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    left = [each.name for each in threading.enumerate() if each.name.startswith("layup-")]
    assert left == []


SHARED = ("pairwise", "push_sum", "ddp", "sgp", "fused", "pd_asgd")


@pytest.mark.parametrize(
    ("algorithm", "pipeline"),
    [
        *((algorithm, "decoupled") for algorithm in ALGORITHMS),
        *((algorithm, "shared") for algorithm in SHARED),
    ],
)
def test_every_strategy_on_every_schedule(algorithm, pipeline):
    threads = {"ratio": "2:2"} if pipeline == "decoupled" else {}
    config = make_config(algorithm, pipeline=pipeline, threads=threads)
    sink = Sink()
    run = layup_jax.run_local(
        make_task(), endless_batches, num_workers=3, config=config, sinks={0: [sink]}
    )
    summary = run.summary
    assert (summary.status, summary.steps_total, summary.samples_total) == ("finished", 18, 144)
    if algorithm == "fused":
        assert summary.segments == 1
    assert summary.schedule.startswith(pipeline)
    assert sum(map(sum, summary.staleness_histogram)) > 0
    assert summary.forward_seconds > 0
    assert summary.update_delay_seconds > 0
    assert [line.step for line in sink.of(StepRecord)] == list(range(1, 7))
    assert summary.push_sum_weight_error <= 1e-5


@pytest.mark.parametrize("algorithm", KEEPS_THE_SUM)
@pytest.mark.parametrize(
    ("pipeline", "threads"), [("decoupled", {"ratio": "1:3"}), ("shared", {"shared": 3})]
)
def test_no_update_is_lost_between_threads_and_workers(algorithm, pipeline, threads):
    """With constant gradients the mean over workers is known, whatever was exchanged meanwhile."""
    task = layup_jax.Task(sloping_model(), mean_output, optax.sgd(0.25))
    config = make_config(
        algorithm,
        pipeline=pipeline,
        threads=threads,
        stop={"steps": 40},
        evaluation={"every_steps": 0},
    )

    def batches(rank, workers):
        while True:
            yield ones()

    run = layup_jax.run_local(task, batches, num_workers=3, config=config)
    for params in jax.tree.leaves(run.model.params):
        np.testing.assert_allclose(params, -0.25 * 40 * SLOPES, rtol=1e-5)
    if algorithm in ("pairwise", "pd_asgd", "ad_psgd"):
        assert run.summary.messages_sent > 0


def test_the_averager_brings_workers_together():
    """Without gradients, from different starts: the averager alone does it."""
    config = make_config(
        "lap_sgd", stop={"seconds": 1.5, "steps": None}, evaluation={"every_steps": 0}
    )

    def different(rank, workers):
        for turn, batch in enumerate(endless_batches(rank, workers)):
            yield batch if turn < 5 else tiny.features(seed=0)

    run = layup_jax.run_local(
        make_task(learning_rate=1e-3), different, num_workers=3, config=config
    )
    alone = layup_jax.run_local(
        make_task(learning_rate=1e-3),
        different,
        num_workers=3,
        config=config | {"strategy": {"name": "hogwild"}},
    )
    assert run.summary.messages_sent > 0
    assert run.summary.consensus_distance < alone.summary.consensus_distance


@pytest.mark.parametrize("algorithm", ["ddp", "d_psgd"])
def test_synchronous_workers_stay_equal_although_passes_overlap(algorithm):
    config = make_config(
        algorithm, pipeline="decoupled", threads={"ratio": "2:3"}, stop={"steps": 20}
    )
    run = layup_jax.run_local(make_task(), endless_batches, num_workers=3, config=config)
    if algorithm == "ddp":
        assert run.summary.consensus_distance < 1e-5
    assert algorithm in COLLECTIVES


def test_ratio_auto_says_what_it_chose_and_why():
    sink = Sink()
    config = make_config("pd_asgd", threads={"ratio": "auto"})
    run = layup_jax.run_local(
        make_task(), endless_batches, num_workers=1, config=config, sinks={0: [sink]}
    )
    notes = [line.text for line in sink.of(NoteRecord)]
    assert notes[0].startswith("decoupled ")
    assert " because a forward pass takes " in notes[0]
    assert run.summary.schedule.startswith(notes[0].split(" because")[0])


def test_lpp_sgd_with_more_threads_than_segments_is_refused_before_anything_starts():
    config = make_config("lpp_sgd", partition=2, threads={"shared": 3})
    with pytest.raises(
        ConfigError, match=r"got 3 threads and 2 segments; lower config.threads.shared"
    ):
        layup_jax.run_local(make_task(), endless_batches, num_workers=2, config=config)


@pytest.mark.parametrize("algorithm", ["pd_asgd", "ddp", "lap_sgd", "sgp"])
@pytest.mark.parametrize("bad", ["data", "loss"])
def test_one_worker_that_fails_ends_all_threads_of_all(algorithm, bad):
    def batches(rank, workers):
        for step, batch in enumerate(endless_batches(rank, workers)):
            if rank == 1 and step == 7:
                if bad == "data":
                    raise DataError("the disk is on fire")
                batch.inputs[0, 0] = np.nan
            yield batch

    config = make_config(
        algorithm, pipeline="decoupled", threads={"ratio": "2:2"}, stop={"steps": 100_000}
    )
    with pytest.raises((DataError, NonFiniteError), match="on fire" if bad == "data" else "step 7"):
        layup_jax.run_local(make_task(), batches, num_workers=3, config=config)


@pytest.mark.parametrize("algorithm", ["pd_asgd", "hogwild", "lap_sgd", "ddp"])
def test_wall_time_and_samples_end_a_run(algorithm):
    config = make_config(
        algorithm,
        pipeline="decoupled",
        stop={"steps": None, "samples": 400},
        delay={"ranks": (0, 1), "seconds": 0.01},  # long beside what telling each other takes
    )
    run = layup_jax.run_local(make_task(), endless_batches, num_workers=2, config=config)
    assert 400 <= run.summary.samples_total <= 400 + 2 * 2 * 8
    config = make_config(algorithm, pipeline="decoupled", stop={"steps": None, "seconds": 0.3})
    start = time.monotonic()
    run = layup_jax.run_local(make_task(), endless_batches, num_workers=2, config=config)
    assert run.summary.status == "finished"
    assert run.summary.train_seconds >= 0.3
    assert time.monotonic() > start


def test_recordings_are_asked_for():
    assert layup_jax.run_local(make_task(), endless_batches, num_workers=1).recorded is None
