"""Whole runs with workers as threads: every algorithm, partition and number of workers."""

import threading

import numpy as np
import optax
import pytest
import tiny
from local_runs import ALGORITHMS, Sink, endless_batches, flat, make_arrays, make_config, make_task

import layup_jax
from layup_jax.config import validated
from layup_jax.metrics.records import EvaluationRecord, StepRecord
from layup_jax.run import choose_partition, prepare, run_local

WAIT_SECONDS = 60


def _assert_finished(run, num_workers, algorithm, steps=6):
    summary = run.summary
    assert (run.error, summary.status, summary.failure) == (None, "finished", None)
    assert (summary.workers, summary.steps_total) == (num_workers, num_workers * steps)
    assert summary.samples_total == 8 * summary.steps_total
    assert summary.algorithm == ALGORITHMS[algorithm]["name"]
    assert summary.mixing == ALGORITHMS[algorithm].get("mixing", "none")
    assert summary.push_sum_weight_error < 1e-6
    assert len(summary.test_accuracy_per_worker) == num_workers
    assert 0 <= summary.test_accuracy <= 1
    assert np.all(np.isfinite(flat(run.model)))
    communicates = algorithm in ("pairwise", "push_sum") and num_workers > 1
    assert (summary.messages_sent > 0) == (summary.sent_bytes > 0) == communicates
    assert np.isfinite(summary.consensus_distance)
    if not communicates:
        assert (summary.consensus_distance > 1e-6) == (num_workers > 1)


@pytest.mark.parametrize(
    ("algorithm", "partition", "segments"),
    [
        ("pairwise", "layer", 4),
        ("pairwise", "model", 1),
        ("pairwise", 2, 2),
        ("pairwise", "auto", None),
        ("push_sum", "layer", 4),
        ("push_sum", "model", 1),
        ("local", "layer", 4),
        ("local", 2, 2),
        ("local", "auto", None),
        ("fused", "layer", 1),  # its own partition wins
    ],
)
def test_runs_with_any_partition(algorithm, partition, segments):
    run = run_local(
        make_task(),
        make_arrays(),
        num_workers=2,
        config=make_config(algorithm, partition=partition),
    )
    _assert_finished(run, 2, algorithm)
    assert segments in (None, run.summary.segments)
    assert run.summary.partition.startswith("model" if algorithm == "fused" else str(partition))


@pytest.mark.parametrize("num_workers", [1, 3, 4, 8])
@pytest.mark.parametrize("algorithm", ["pairwise", "push_sum", "local"])
def test_runs_with_any_number_of_workers(algorithm, num_workers):
    run = run_local(
        make_task(), make_arrays(), num_workers=num_workers, config=make_config(algorithm)
    )
    _assert_finished(run, num_workers, algorithm)


@pytest.mark.parametrize("name", ["normed", "token", "conv"])
def test_runs_with_statistics_dropout_and_any_activations(name):
    make, batch = tiny.MODELS[name]
    task = layup_jax.Task(make(), tiny.loss, optax.adam(0.01), batch(40, seed=99))
    run = run_local(task, tuple(batch(64)), num_workers=2, config=make_config())
    _assert_finished(run, 2, "pairwise")


def test_options_that_gain_nothing_are_warned_of():
    config = make_config(strategy={"name": "local", "mixing": "push_sum"})
    with pytest.warns(UserWarning, match=r"local has no use for config\.strategy\.mixing"):
        run_local(make_task(), make_arrays(), num_workers=1, config=config)


@pytest.mark.parametrize("algorithm", ["pairwise", "push_sum"])
def test_learns(algorithm):
    config = make_config(algorithm, stop={"steps": 150}, evaluation={"every_steps": 0})
    run = run_local(make_task(learning_rate=0.3), make_arrays(512), num_workers=4, config=config)
    assert run.summary.test_accuracy > 0.85
    assert run.summary.test_loss < 0.5


def _final(algorithm, partition, num_workers=1):
    config = make_config(algorithm, partition=partition)
    return flat(
        run_local(make_task(), endless_batches, num_workers=num_workers, config=config).model
    )


def test_all_ways_of_training_alone_are_the_same():
    """The same up to rounding: a few steps of float32 numbers of order one."""
    expected = _final("local", "model")
    for algorithm, partition in [
        ("fused", "layer"),
        ("local", "layer"),
        ("pairwise", "layer"),
        ("push_sum", 2),
    ]:
        np.testing.assert_allclose(_final(algorithm, partition), expected, atol=1e-6)


def test_a_run_without_communication_can_be_repeated():
    first, second = (_final("local", "layer", num_workers=2) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_batches_that_are_placed_ahead_change_nothing():
    config = make_config("local", prefetch=2, stop={"steps": 6})
    ahead = run_local(make_task(), endless_batches, num_workers=2, config=config)
    np.testing.assert_array_equal(flat(ahead.model), _final("local", "layer", num_workers=2))


def test_the_model_of_a_run_is_the_mean_of_its_workers():
    """Measured again, the model that is returned gives the numbers of the summary."""
    task, sinks = make_task(), {rank: [Sink()] for rank in range(2)}
    run = run_local(
        task, endless_batches, num_workers=2, config=make_config("push_sum"), sinks=sinks
    )
    prepared = prepare(
        task, validated(make_config()), choose_partition(validated(make_config()), task, None), 2
    )
    again = prepared.engine.evaluator(run.model, task.test)
    np.testing.assert_allclose(again, (run.summary.test_loss, run.summary.test_accuracy), rtol=1e-6)
    outputs = task.model.predict(run.model, task.test.inputs)
    assert float(task.metric(outputs, task.test)) == pytest.approx(run.summary.test_accuracy)
    last = [sinks[rank][0].of(EvaluationRecord)[-1] for rank in range(2)]
    assert [line.test_accuracy for line in last] == list(run.summary.test_accuracy_per_worker)


def test_a_learning_rate_of_zero_changes_nothing():
    task = make_task(learning_rate=0.0)
    run = run_local(task, endless_batches, num_workers=3, config=make_config())
    expected = [task.model.segment(i, i + 1).init()[0] for i in range(4)]
    np.testing.assert_allclose(flat(run.model.params), flat(expected), rtol=1e-6)
    assert run.summary.consensus_distance < 1e-6


@pytest.mark.parametrize("algorithm", ["local", "push_sum"])
def test_reports_every_step_and_evaluation(algorithm):
    sinks = {rank: [Sink()] for rank in range(2)}
    run_local(
        make_task(), endless_batches, num_workers=2, config=make_config(algorithm), sinks=sinks
    )
    for rank, (sink,) in sinks.items():
        assert {line.rank for line in sink} == {rank}
        steps = sink.of(StepRecord)
        assert [line.step for line in steps] == list(range(1, 7))
        assert [line.samples for line in steps] == [8 * step for step in range(1, 7)]
        assert all(np.isfinite(line.loss) and len(line.staleness) == 4 for line in steps)
        assert [line.step for line in sink.of(EvaluationRecord)] == [3, 6]
        for line in sink.of(EvaluationRecord):
            assert (line.mean_test_accuracy is None) == (rank != 0)
        weights = [(line.push_sum_weight_min, line.push_sum_weight_max) for line in steps]
        if algorithm == "local":
            assert set(weights) == {(None, None)}
        else:
            assert all(0 < least <= most < 2 for least, most in weights)


def test_own_models_alone_are_evaluated_while_training():
    sinks = {rank: [Sink()] for rank in range(3)}
    config = make_config(evaluation={"every_steps": 3, "model": "own", "target": 0.01})
    run = layup_jax.run_local(
        make_task(), endless_batches, num_workers=3, config=config, sinks=sinks
    )
    for rank in range(3):
        *looks, last = sinks[rank][0].of(EvaluationRecord)
        assert [line.step for line in looks] == [3]
        assert {(line.mean_test_accuracy, line.consensus_distance) for line in looks} == {
            (None, None)
        }
        assert last.consensus_distance > 0
    assert run.summary.test_accuracy is not None
    assert 0 < run.summary.time_to_target_seconds <= run.summary.train_seconds


@pytest.mark.parametrize("algorithm", ["local", "pairwise", "push_sum"])
def test_nobody_waits_for_a_slow_worker(algorithm):
    """Worker 0 gets its third batch only once worker 1 has trained to its end."""
    ended, was_in_time = threading.Event(), []
    sink = Sink(lambda line: ended.set() if line.step == 20 else None)

    def loader(rank, num_workers):
        for turn, batch in enumerate(endless_batches(rank, num_workers)):
            if rank == 0 and turn == 2:
                was_in_time.append(ended.wait(WAIT_SECONDS))
            yield batch

    config = make_config(algorithm, stop={"steps": 20}, evaluation={"every_steps": 0})
    run = run_local(make_task(), loader, num_workers=2, config=config, sinks={1: [sink]})
    assert was_in_time == [True]
    _assert_finished(run, 2, algorithm, steps=20)


def test_a_worker_far_ahead_keeps_few_evaluations_open():
    """Its first two wait for the other worker; further ones contribute nothing, and hold no memory."""
    ended, was_in_time = threading.Event(), []
    ahead = Sink(lambda line: ended.set() if line.step == 9 else None)

    def hold(line):
        if line.step == 1 and not was_in_time:
            was_in_time.append(ended.wait(WAIT_SECONDS))

    config = make_config(stop={"steps": 9}, evaluation={"every_steps": 1})
    sinks = {0: [Sink(hold)], 1: [ahead]}
    run = run_local(make_task(), endless_batches, num_workers=2, config=config, sinks=sinks)
    _assert_finished(run, 2, "pairwise", steps=9)
    assert was_in_time == [True]
    assert [line.step for line in ahead.of(EvaluationRecord)] == [1, 2, 9]


@pytest.mark.parametrize("algorithm", ["local", "pairwise", "push_sum"])
def test_delayed_workers_do_their_steps(algorithm):
    config = make_config(algorithm, delay={"ranks": (0, 2), "seconds": 0.002})
    run = run_local(make_task(), endless_batches, num_workers=3, config=config)
    _assert_finished(run, 3, algorithm)


def test_ends_after_seconds():
    config = make_config(
        stop={"steps": None, "seconds": 0.2}, delay={"ranks": (1,), "seconds": 0.01}
    )
    run = run_local(make_task(), endless_batches, num_workers=2, config=config)
    assert run.summary.status == "finished"
    assert run.summary.steps_total > 0
    assert run.summary.push_sum_weight_error < 1e-6


def test_runs_without_test_data():
    task = make_task()._replace(test=None)
    run = run_local(task, endless_batches, num_workers=2, config=make_config("local"))
    assert run.summary.status == "finished"
    assert (run.summary.test_accuracy, run.summary.test_loss) == (None, None)
    assert run.summary.test_accuracy_per_worker == ()
    assert run.summary.consensus_distance > 0


def test_a_run_configuration_may_be_given_as_a_record():
    run = run_local(make_task(), endless_batches, num_workers=1, config=validated(make_config()))
    _assert_finished(run, 1, "pairwise")
