"""Whole runs with workers as threads: every algorithm, partition and number of workers, and failures."""

import itertools
import signal
import threading

import jax
import numpy as np
import optax
import pytest
import tiny

import layup_jax
from layup_jax.config import validated
from layup_jax.errors import ConfigError, DataError, ModelError, NonFiniteError, PeerFailedError
from layup_jax.metrics.records import EvaluationRecord, StepRecord
from layup_jax.run import choose_partition, prepare, run_local, train
from layup_jax.transport.local import local_transports, run_threads

ALGORITHMS = {
    "local": {"name": "local"},
    "fused": {"name": "fused"},
    "pairwise": {"name": "layup", "mixing": "pairwise"},
    "push_sum": {"name": "layup", "mixing": "push_sum", "peer_per": "segment"},
    "push_sum in turn": {
        "name": "layup",
        "mixing": "push_sum",
        "topology": "one_peer_exponential",
    },
    "a2cid2": {"name": "a2cid2", "rate": 2.0, "topology": "ring"},
}
WAIT_SECONDS = 60


class Sink(list):
    """Keeps all lines, and may act on them."""

    def __init__(self, act=lambda line: None):
        super().__init__()
        self._act = act

    def write(self, line):
        self.append(line)
        self._act(line)

    def of(self, kind):
        return [line for line in self if isinstance(line, kind)]


def _task(model=None, learning_rate=0.1, samples=40):
    test = tiny.features(samples, seed=99)
    return layup_jax.Task(model or tiny.mlp_model(), tiny.loss, optax.sgd(learning_rate), test)


def _config(algorithm="pairwise", **changes):
    return {
        "batch_size": 8,
        "log_every_steps": 1,
        "partition": "layer",
        "stop": {"steps": 6},
        "evaluation": {"every_steps": 3},
        "strategy": ALGORITHMS[algorithm],
    } | changes


def _batches(rank, num_workers):
    """Endless batches, different for each rank."""
    return (tiny.features(seed=num_workers * turn + rank) for turn in itertools.count())


def _arrays(samples=64):
    return tuple(tiny.features(samples))


def _flat(model):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(model)])


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
    assert np.all(np.isfinite(_flat(run.model)))
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
        _task(), _arrays(), num_workers=2, config=_config(algorithm, partition=partition)
    )
    _assert_finished(run, 2, algorithm)
    assert segments in (None, run.summary.segments)
    assert run.summary.partition.startswith("model" if algorithm == "fused" else str(partition))


@pytest.mark.parametrize("num_workers", [1, 3, 4, 8])
@pytest.mark.parametrize("algorithm", ["pairwise", "push_sum", "local"])
def test_runs_with_any_number_of_workers(algorithm, num_workers):
    run = run_local(_task(), _arrays(), num_workers=num_workers, config=_config(algorithm))
    _assert_finished(run, num_workers, algorithm)


@pytest.mark.parametrize("name", ["normed", "token", "conv"])
def test_runs_with_statistics_dropout_and_any_activations(name):
    make, batch = tiny.MODELS[name]
    task = layup_jax.Task(make(), tiny.loss, optax.adam(0.01), batch(40, seed=99))
    run = run_local(task, tuple(batch(64)), num_workers=2, config=_config())
    _assert_finished(run, 2, "pairwise")


@pytest.mark.parametrize("algorithm", ["pairwise", "push_sum"])
def test_learns(algorithm):
    config = _config(algorithm, stop={"steps": 150}, evaluation={"every_steps": 0})
    run = run_local(_task(learning_rate=0.3), _arrays(512), num_workers=4, config=config)
    assert run.summary.test_accuracy > 0.85
    assert run.summary.test_loss < 0.5


def _final(algorithm, partition, num_workers=1):
    config = _config(algorithm, partition=partition)
    return _flat(run_local(_task(), _batches, num_workers=num_workers, config=config).model)


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


def test_the_model_of_a_run_is_the_mean_of_its_workers():
    """Measured again, the model that is returned gives the numbers of the summary."""
    task, sinks = _task(), {rank: [Sink()] for rank in range(2)}
    run = run_local(task, _batches, num_workers=2, config=_config("push_sum"), sinks=sinks)
    prepared = prepare(
        task, validated(_config()), choose_partition(validated(_config()), task, None), 2
    )
    again = prepared.engine.evaluator(run.model, task.test)
    np.testing.assert_allclose(again, (run.summary.test_loss, run.summary.test_accuracy), rtol=1e-6)
    outputs = task.model.predict(run.model, task.test.inputs)
    assert float(task.metric(outputs, task.test)) == pytest.approx(run.summary.test_accuracy)
    last = [sinks[rank][0].of(EvaluationRecord)[-1] for rank in range(2)]
    assert [line.test_accuracy for line in last] == list(run.summary.test_accuracy_per_worker)


def test_a_learning_rate_of_zero_changes_nothing():
    task = _task(learning_rate=0.0)
    run = run_local(task, _batches, num_workers=3, config=_config())
    expected = [task.model.segment(i, i + 1).init()[0] for i in range(4)]
    np.testing.assert_allclose(_flat(run.model.params), _flat(expected), rtol=1e-6)
    assert run.summary.consensus_distance < 1e-6


@pytest.mark.parametrize("algorithm", ["local", "push_sum"])
def test_reports_every_step_and_evaluation(algorithm):
    sinks = {rank: [Sink()] for rank in range(2)}
    run_local(_task(), _batches, num_workers=2, config=_config(algorithm), sinks=sinks)
    for rank, (sink,) in sinks.items():
        assert {line.rank for line in sink} == {rank}
        steps = sink.of(StepRecord)
        assert [line.step for line in steps] == list(range(1, 7))
        assert [line.samples for line in steps] == [8 * step for step in range(1, 7)]
        assert all(np.isfinite(line.loss) and len(line.staleness) == 4 for line in steps)
        assert [line.step for line in sink.of(EvaluationRecord)] == [3, 6, 6]
        for line in sink.of(EvaluationRecord):
            assert (line.mean_test_accuracy is None) == (rank != 0)
        weights = [(line.push_sum_weight_min, line.push_sum_weight_max) for line in steps]
        if algorithm == "local":
            assert set(weights) == {(None, None)}
        else:
            assert all(0 < least <= most < 2 for least, most in weights)


@pytest.mark.parametrize("algorithm", ["local", "pairwise", "push_sum"])
def test_nobody_waits_for_a_slow_worker(algorithm):
    """Worker 0 gets its third batch only once worker 1 has trained to its end."""
    ended, was_in_time = threading.Event(), []
    sink = Sink(lambda line: ended.set() if line.step == 20 else None)

    def loader(rank, num_workers):
        for turn, batch in enumerate(_batches(rank, num_workers)):
            if rank == 0 and turn == 2:
                was_in_time.append(ended.wait(WAIT_SECONDS))
            yield batch

    config = _config(algorithm, stop={"steps": 20}, evaluation={"every_steps": 0})
    run = run_local(_task(), loader, num_workers=2, config=config, sinks={1: [sink]})
    assert was_in_time == [True]
    _assert_finished(run, 2, algorithm, steps=20)


def test_a_worker_far_ahead_keeps_few_evaluations_open():
    """Its first two wait for the other worker; further ones contribute nothing, and hold no memory."""
    ended, was_in_time = threading.Event(), []
    ahead = Sink(lambda line: ended.set() if line.step == 9 else None)

    def hold(line):
        if line.step == 1 and not was_in_time:
            was_in_time.append(ended.wait(WAIT_SECONDS))

    config = _config(stop={"steps": 9}, evaluation={"every_steps": 1})
    sinks = {0: [Sink(hold)], 1: [ahead]}
    run = run_local(_task(), _batches, num_workers=2, config=config, sinks=sinks)
    _assert_finished(run, 2, "pairwise", steps=9)
    assert was_in_time == [True]
    assert [line.step for line in ahead.of(EvaluationRecord)] == [1, 2, 9]


@pytest.mark.parametrize("algorithm", ["local", "pairwise", "push_sum"])
def test_delayed_workers_do_their_steps(algorithm):
    config = _config(algorithm, delay={"ranks": (0, 2), "seconds": 0.002})
    run = run_local(_task(), _batches, num_workers=3, config=config)
    _assert_finished(run, 3, algorithm)


def test_ends_after_seconds():
    config = _config(stop={"steps": None, "seconds": 0.2}, delay={"ranks": (1,), "seconds": 0.01})
    run = run_local(_task(), _batches, num_workers=2, config=config)
    assert run.summary.status == "finished"
    assert run.summary.steps_total > 0
    assert run.summary.push_sum_weight_error < 1e-6


def test_runs_without_test_data():
    task = _task()._replace(test=None)
    run = run_local(task, _batches, num_workers=2, config=_config("local"))
    assert run.summary.status == "finished"
    assert (run.summary.test_accuracy, run.summary.test_loss) == (None, None)
    assert run.summary.test_accuracy_per_worker == ()
    assert run.summary.consensus_distance > 0


def _with_nan(bad_rank, bad_turn):
    def loader(rank, num_workers):
        for turn, batch in enumerate(_batches(rank, num_workers)):
            if (rank, turn) == (bad_rank, bad_turn):
                batch.inputs[0, 0] = np.nan
            yield batch

    return loader


@pytest.mark.parametrize("num_workers", [1, 3])
@pytest.mark.parametrize("algorithm", ["local", "fused"])
def test_a_loss_that_is_not_finite_ends_the_run(algorithm, num_workers):
    with pytest.raises(
        NonFiniteError, match=r"got nan at step 2, first non-finite in segment 0 \("
    ):
        run_local(_task(), _with_nan(0, 2), num_workers=num_workers, config=_config(algorithm))


@pytest.mark.parametrize("num_workers", [2, 4])
@pytest.mark.parametrize("algorithm", ["pairwise", "push_sum"])
def test_a_loss_that_is_not_finite_ends_the_run_of_all(algorithm, num_workers):
    """It may have travelled to a peer before it was noticed, so the step is not known here."""
    config = _config(algorithm, stop={"steps": 10**6})
    with pytest.raises(NonFiniteError, match=r"at step \d+, first non-finite in segment \d \(0"):
        run_local(_task(), _with_nan(1, 2), num_workers=num_workers, config=config)


def test_a_first_batch_that_is_not_finite_is_found_before_training():
    with pytest.raises(NonFiniteError, match="at step 0"):
        run_local(_task(), _with_nan(1, 0), num_workers=2, config=_config())


@pytest.mark.parametrize("turn", [0, 3])
def test_a_failing_loader_ends_the_run_of_all(turn):
    def loader(rank, num_workers):
        yield from itertools.islice(_batches(rank, num_workers), turn if rank == 1 else None)
        raise DataError("a batch is gone")

    config = _config(stop={"steps": 10**6})
    with pytest.raises(DataError, match="a batch is gone"):
        run_local(_task(), loader, num_workers=3, config=config)


def test_a_failing_sink_ends_the_run_of_all():
    def full(line):
        if line.step == 2:
            raise OSError("no space left")

    config = _config(stop={"steps": 10**6})
    with pytest.raises(OSError, match="no space left"):
        run_local(_task(), _batches, num_workers=3, config=config, sinks={2: [Sink(full)]})


def test_a_failing_optimizer_is_found_before_training():
    def update(updates, state, params=None):
        raise ZeroDivisionError("no such optimizer")

    broken = optax.GradientTransformation(lambda params: (), update)
    task = layup_jax.Task(tiny.mlp_model(), tiny.loss, broken)
    with pytest.raises(ZeroDivisionError, match="no such optimizer"):
        run_local(task, _batches, num_workers=2, config=_config())


def _train(num_workers=2, loader=_batches, sinks=None, stop=None, **changes):
    """What every worker of a run gets, as with the command line."""
    task, config = _task(), validated(_config(stop={"steps": 10**6}, **changes))
    prepared = prepare(task, config, choose_partition(config, task, None), num_workers)
    stop = stop or threading.Event()

    def work(transport):
        rank = transport.rank
        batches = loader(rank, num_workers)
        return train(prepared, config, transport, batches, (sinks or {}).get(rank, ()), stop)

    return run_threads(local_transports(num_workers), work, stop.set)


def test_the_summary_of_a_failed_run_tells_the_cause():
    """And not, where rank 0 stopped because of another worker, only that."""
    runs = _train(3, _with_nan(1, 2), strategy=ALGORITHMS["local"])
    assert [type(run.error) for run in runs] == [PeerFailedError, NonFiniteError, PeerFailedError]
    for run in runs:
        assert run.model is None
        assert (run.summary.status, run.summary.test_accuracy) == ("failed", None)
        assert run.summary.failure.startswith("the loss must be finite, got nan at step 2")


@pytest.mark.parametrize("algorithm", ["local", "pairwise", "push_sum"])
def test_an_event_ends_the_run_early_and_in_order(algorithm):
    stop = threading.Event()
    sinks = {0: [Sink(lambda line: stop.set() if line.step == 4 else None)]}
    for run in _train(sinks=sinks, stop=stop, strategy=ALGORITHMS[algorithm]):
        assert (run.error, run.summary.status) == (None, "interrupted")
        assert run.summary.steps_total >= 4
        assert run.summary.push_sum_weight_error < 1e-6
        assert np.all(np.isfinite(_flat(run.model)))


def test_an_event_set_before_the_start_trains_nothing():
    stop = threading.Event()
    stop.set()
    run, _ = _train(stop=stop)
    assert (run.summary.status, run.summary.steps_total) == ("interrupted", 0)


def test_control_c_ends_the_run_in_order():
    """As the terminal does it: with a signal, which Python takes in the main thread."""
    main = threading.main_thread().ident
    sink = Sink(lambda line: signal.pthread_kill(main, signal.SIGINT) if line.step == 3 else None)
    config = _config(stop={"steps": 10**6}, evaluation={"every_steps": 0})
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's & has it ignored
    try:
        run = run_local(_task(), _batches, num_workers=2, config=config, sinks={0: [sink]})
    finally:
        signal.signal(signal.SIGINT, before)
    assert run.summary.status == "interrupted"
    assert run.summary.steps_total >= 3


def test_a_run_configuration_may_be_given_as_a_record():
    run = run_local(_task(), _batches, num_workers=1, config=validated(_config()))
    _assert_finished(run, 1, "pairwise")


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"num_workers": 0}, ConfigError, "at least 1 worker, got 0"),
        ({"config": {"stop": {"step": 3}}}, ConfigError, "unknown key config.stop.step"),
        ({"config": _config(partition=9)}, ConfigError, "must cut 4 layers into 1 to 4 segments"),
        ({"data": tiny.features(4)}, DataError, "batch"),
        ({"data": tuple(tiny.features(64, shape=(5,)))}, ModelError, "layer 00-Dense cannot take"),
    ],
)
def test_refuses_in_one_sentence_what_cannot_be_run(changes, error, sentence):
    arguments = {"data": _arrays(), "num_workers": 2, "config": _config()} | changes
    data = arguments.pop("data")
    with pytest.raises(error, match=sentence) as caught:
        run_local(_task(), tuple(data), **arguments)
    assert "\n" not in str(caught.value)


def test_an_optimizer_that_is_none_is_refused():
    task = _task()._replace(optimizer="adam")
    with pytest.raises(ModelError, match=r"got 'adam'; pass one such as optax\.adam"):
        run_local(task, _batches, num_workers=1, config=_config(partition="auto"))
