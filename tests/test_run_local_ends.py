"""Runs with workers as threads that are refused, fail, or are ended early."""

import itertools
import signal
import threading

import numpy as np
import optax
import pytest
import tiny
from local_runs import ALGORITHMS, Sink, endless_batches, flat, make_arrays, make_config, make_task

import layup_jax
from layup_jax.config import validated
from layup_jax.errors import ConfigError, DataError, ModelError, NonFiniteError, PeerFailedError
from layup_jax.run import choose_partition, prepare, run_local, train
from layup_jax.strategies import Local
from layup_jax.transport.local import local_transports, run_threads
from layup_jax.types import AllReduce


def _with_nan(bad_rank, bad_turn):
    def loader(rank, num_workers):
        for turn, batch in enumerate(endless_batches(rank, num_workers)):
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
        run_local(
            make_task(), _with_nan(0, 2), num_workers=num_workers, config=make_config(algorithm)
        )


@pytest.mark.parametrize("num_workers", [2, 4])
@pytest.mark.parametrize("algorithm", ["pairwise", "push_sum"])
def test_a_loss_that_is_not_finite_ends_the_run_of_all(algorithm, num_workers):
    """It may have travelled to a peer before it was noticed, so the step is not known here."""
    config = make_config(algorithm, stop={"steps": 10**6})
    with pytest.raises(NonFiniteError, match=r"at step \d+, first non-finite in segment \d \(0"):
        run_local(make_task(), _with_nan(1, 2), num_workers=num_workers, config=config)


def test_a_first_batch_that_is_not_finite_is_found_before_training():
    with pytest.raises(NonFiniteError, match="at step 0"):
        run_local(make_task(), _with_nan(1, 0), num_workers=2, config=make_config())


@pytest.mark.parametrize("turn", [0, 3])
def test_a_failing_loader_ends_the_run_of_all(turn):
    def loader(rank, num_workers):
        yield from itertools.islice(endless_batches(rank, num_workers), turn if rank == 1 else None)
        raise DataError("a batch is gone")

    config = make_config(stop={"steps": 10**6})
    with pytest.raises(DataError, match="a batch is gone"):
        run_local(make_task(), loader, num_workers=3, config=config)


def test_a_failing_sink_ends_the_run_of_all():
    def full(line):
        if line.step == 2:
            raise OSError("no space left")

    config = make_config(stop={"steps": 10**6})
    with pytest.raises(OSError, match="no space left"):
        run_local(
            make_task(), endless_batches, num_workers=3, config=config, sinks={2: [Sink(full)]}
        )


def test_a_failing_optimizer_is_found_before_training():
    def update(updates, state, params=None):
        raise ZeroDivisionError("no such optimizer")

    broken = optax.GradientTransformation(lambda params: (), update)
    task = layup_jax.Task(tiny.mlp_model(), tiny.loss, broken)
    with pytest.raises(ZeroDivisionError, match="no such optimizer"):
        run_local(task, endless_batches, num_workers=2, config=make_config())


def _train(num_workers=2, loader=endless_batches, sinks=None, stop=None, **changes):
    """What every worker of a run gets, as with the command line."""
    task, config = make_task(), validated(make_config(stop={"steps": 10**6}, **changes))
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


@pytest.mark.parametrize("turn", [0, 1])
def test_where_several_fail_by_themselves_the_first_of_them_speaks(turn):
    """At turn 0 all fail before training, at turn 1 each in its first step or because of another."""

    def loader(rank, num_workers):
        yield from itertools.islice(endless_batches(rank, num_workers), None if rank == 0 else turn)
        raise DataError(f"no batch for {rank}")

    runs = _train(3, loader, strategy=ALGORITHMS["local"])
    spoke = [rank for rank, run in enumerate(runs) if not isinstance(run.error, PeerFailedError)]
    assert spoke in ([[1]] if turn == 0 else [[1], [2]])
    for run in runs:
        assert run.summary.failure == f"no batch for {spoke[0]}"


@pytest.mark.parametrize("algorithm", ["local", "pairwise", "push_sum"])
def test_an_event_ends_the_run_early_and_in_order(algorithm):
    stop = threading.Event()
    sinks = {0: [Sink(lambda line: stop.set() if line.step == 4 else None)]}
    for run in _train(sinks=sinks, stop=stop, strategy=ALGORITHMS[algorithm]):
        assert (run.error, run.summary.status) == (None, "interrupted")
        assert run.summary.steps_total >= 4
        assert run.summary.push_sum_weight_error < 1e-6
        assert np.all(np.isfinite(flat(run.model)))


def test_an_event_set_before_the_start_trains_nothing():
    stop = threading.Event()
    stop.set()
    run, _ = _train(stop=stop)
    assert (run.summary.status, run.summary.steps_total) == ("interrupted", 0)


def test_control_c_ends_the_run_in_order():
    """As the terminal does it: with a signal, which Python takes in the main thread."""
    main = threading.main_thread().ident
    sink = Sink(lambda line: signal.pthread_kill(main, signal.SIGINT) if line.step == 3 else None)
    config = make_config(stop={"steps": 10**6}, evaluation={"every_steps": 0})
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's & has it ignored
    try:
        run = run_local(
            make_task(), endless_batches, num_workers=2, config=config, sinks={0: [sink]}
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert run.summary.status == "interrupted"
    assert run.summary.steps_total >= 3


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"num_workers": 0}, ConfigError, "number of workers, at least 1, got 0"),
        ({"num_workers": 1.5}, ConfigError, "number of workers, at least 1, got 1.5"),
        ({"config": "x"}, ConfigError, "config must be a group of keys, got 'x'"),
        ({"config": {"stop": {"step": 3}}}, ConfigError, "unknown key config.stop.step"),
        (
            {"config": make_config(partition=9)},
            ConfigError,
            "must cut 4 layers into 1 to 4 segments",
        ),
        ({"data": tiny.features(4)}, DataError, "batch"),
        ({"data": tuple(tiny.features(64, shape=(5,)))}, ModelError, "layer 00-Dense cannot take"),
        (
            {"data": {"x": 1, "y": 2}},
            ConfigError,
            r"data must be \(inputs, labels\), or .* got dict",
        ),
        (
            {"data": make_arrays()[:1]},
            ConfigError,
            r"data must be \(inputs, labels\), or .* got tuple",
        ),
        ({"strategy": "ddp"}, ConfigError, r"strategy must be a function .* got 'ddp'; .*'name'"),
    ],
)
def test_refuses_in_one_sentence_what_cannot_be_run(changes, error, sentence):
    arguments = {"data": make_arrays(), "num_workers": 2, "config": make_config()} | changes
    with pytest.raises(error, match=sentence) as caught:
        run_local(make_task(), **arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"model": [np.tanh]}, ModelError, "model must be a LayeredModel, got list; pass Layered"),
        (
            {"test": make_arrays()},
            ConfigError,
            r"test must be a record .* got tuple; pass .*Batch\(",
        ),
        (
            {"test": layup_jax.Batch(np.ones((8, 4)), np.ones(7))},
            ConfigError,
            r"samples as first axis, as many in each, got shapes \(8, 4\), \(7,\); pass",
        ),
        (
            {"test": layup_jax.Batch(np.ones((0, 4)), np.ones(0))},
            ConfigError,
            r"as many in each, got shapes \(0, 4\)",
        ),
        ({"test": layup_jax.Batch([[0.5]], [1])}, ConfigError, r"as many in each, got shapes \(\)"),
        (
            {"test": tiny.features(9, shape=(5,))},
            ModelError,
            "must take the test data, got .*; make them like those that are trained on",
        ),
        (
            {"metric": lambda outputs, batch: outputs[:, 0]},
            ModelError,
            r"the metric must return a scalar, got shape \(\d+,\); take the mean",
        ),
        (
            {"metric": lambda outputs, batch: {}},
            ModelError,
            "the metric must return a scalar, got dict",
        ),
    ],
)
def test_a_task_of_other_parts_is_refused(changes, error, sentence):
    with pytest.raises(error, match=sentence):
        run_local(make_task()._replace(**changes), make_arrays(), config=make_config())


def test_something_else_than_a_task_is_refused():
    with pytest.raises(ConfigError, match=r"must be a Task, got str; pass layup_jax\.Task\("):
        run_local("task", make_arrays(), config=make_config())


def test_labels_of_a_wrong_shape_are_refused_before_training():
    inputs, labels = make_arrays()
    task = make_task()._replace(loss=layup_jax.cross_entropy)
    with pytest.raises(DataError, match=r"labels must have shape \(8,\), .* got \(8, 1\)"):
        run_local(task, (inputs, labels[:, None]), config=make_config())


def test_a_negative_label_is_refused():
    inputs, labels = make_arrays()
    task = make_task()._replace(loss=layup_jax.cross_entropy)
    with pytest.raises(NonFiniteError, match="label"):
        run_local(task, (inputs, labels - 1), num_workers=1, config=make_config())


@pytest.mark.parametrize("shift", [-1, tiny.NUM_CLASSES])
def test_test_labels_that_are_no_class_are_refused_before_training(shift):
    inputs, labels = make_arrays()
    task = make_task()._replace(
        loss=layup_jax.cross_entropy, test=layup_jax.Batch(inputs, labels + shift)
    )
    with pytest.raises(DataError, match="loss on the test data must be finite, got nan before any"):
        run_local(task, (inputs, labels), num_workers=1, config=make_config())


def test_data_of_another_kind_is_refused_under_mpi_too():
    with pytest.raises(ConfigError, match=r"data must be \(inputs, labels\), or .* got dict"):
        layup_jax.run_mpi(make_task, {"x": 1, "y": 2}, config=make_config())


@pytest.mark.parametrize(
    ("data", "error", "sentence"),
    [
        (
            lambda *_: [1, 2],
            ConfigError,
            "must return an iterator of batches, got list; yield them",
        ),
        (
            lambda *_: iter([(1, 2)]),
            ConfigError,
            r"a batch must be a record with .* got tuple; yield",
        ),
        (
            lambda rank, workers: itertools.islice(endless_batches(rank, workers), 3),
            DataError,
            "must not end, got 3 for worker 0; begin again after the last one",
        ),
        (
            lambda rank: endless_batches(rank, 1),
            ConfigError,
            r"must take a rank and the number of workers, .*; define it as data\(rank, num_workers\)",
        ),
    ],
)
def test_a_data_function_of_another_kind_is_refused(data, error, sentence):
    with pytest.raises(error, match=sentence):
        run_local(make_task(), data, num_workers=1, config=make_config())


def test_requests_that_are_none_are_refused():
    """Not passed over, as the fields of a record that is no tuple of records were."""

    class AsksForOne(Local):
        asks = AllReduce

        def requests(self, event, draws):
            return AllReduce(event.segment)

    with pytest.raises(
        ConfigError, match=r"requests must be a tuple of Push, .* got 0 in it; return"
    ):
        run_local(
            make_task(),
            endless_batches,
            num_workers=1,
            config=make_config(partition="model"),
            strategy=lambda optimizer, workers: AsksForOne(optimizer),
        )


def test_a_task_in_place_of_a_function_is_refused_under_mpi():
    with pytest.raises(ConfigError, match="must be a function that makes the Task, got Task; pass"):
        layup_jax.run_mpi(make_task(), make_arrays(), config=make_config())


def test_an_optimizer_that_is_none_is_refused():
    task = make_task()._replace(optimizer="adam")
    with pytest.raises(ModelError, match=r"got 'adam'; pass one such as optax\.adam"):
        run_local(task, endless_batches, num_workers=1, config=make_config(partition="auto"))


@pytest.mark.parametrize("key", ["data", "model", "optimizer"])
def test_what_the_task_says_is_not_said_again(key):
    with pytest.raises(ConfigError, match=f"config.{key} must be left out where the task is your"):
        run_local(make_task(), endless_batches, config={key: {}, "stop": {"steps": 1}})
