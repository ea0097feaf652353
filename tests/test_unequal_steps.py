"""Workers that stop at different steps, or fail in between: nobody hangs, and nothing is lost."""

import itertools
import threading

import jax
import numpy as np
import optax
import pytest
import tiny
from local_runs import (
    ALGORITHMS,
    COLLECTIVES,
    Sink,
    endless_batches,
    flat,
    make_arrays,
    make_config,
    make_task,
)

import layup_jax
from layup_jax.config import validated
from layup_jax.errors import DataError, PeerFailedError
from layup_jax.metrics.records import StepRecord
from layup_jax.run import choose_partition, prepare, run_local, train
from layup_jax.transport.local import local_transports, run_threads

ENDLESS = 10**6


def _runs_of(steps, algorithm, task=None, loader=endless_batches, **changes):
    """Runs each worker for its own number of steps, as Ctrl-C at different times does."""
    task = task or make_task()
    options = {"strategy": ALGORITHMS[algorithm], "evaluation": {"every_steps": 0}} | changes
    config = validated(make_config(stop={"steps": ENDLESS}, **options))
    prepared = prepare(task, config, choose_partition(config, task, None), len(steps))
    events = [threading.Event() for _ in steps]

    def work(transport):
        rank = transport.rank
        sink = Sink(lambda line: line.step >= steps[rank] and events[rank].set())
        if steps[rank] == 0:
            events[rank].set()
        batches = loader(rank, len(steps))
        return train(prepared, config, transport, batches, [sink], events[rank])

    return run_threads(local_transports(len(steps)), work, lambda: None)


@pytest.mark.parametrize(("steps", "partition"), [((3, 7, 10), 2), ((0, 0, 4), "model")])
@pytest.mark.parametrize("algorithm", COLLECTIVES)
def test_workers_may_stop_at_different_steps(algorithm, steps, partition):
    runs = _runs_of(steps, algorithm, partition=partition)
    for run in runs:
        assert (run.error, run.summary.status) == (None, "interrupted")
        assert run.summary.steps_total == sum(steps)
        assert run.summary.push_sum_weight_error < 1e-6
        assert np.all(np.isfinite(flat(run.model)))
    if algorithm == "ddp":
        assert runs[0].summary.consensus_distance < 1e-6  # the rounding of a mean of three


def test_the_others_go_on_with_the_mean_of_those_that_are_left():
    """DDP of workers that stop after 2, 4 and 6 steps, against gradients added up by hand."""
    steps, rate = (2, 4, 6), 0.2
    task = layup_jax.Task(tiny.mlp_model(), tiny.loss, optax.sgd(rate))
    model = task.model
    params, model_state = model.segment(0, len(model)).init()

    def loss(params, batch):
        outputs, _ = model.segment(0, len(model)).apply(
            params, model_state, batch.inputs, None, training=True
        )
        return tiny.loss(outputs, batch)

    for step in range(max(steps)):
        left = [rank for rank, last in enumerate(steps) if step < last]
        batches = [
            next(itertools.islice(endless_batches(rank, len(steps)), step, None)) for rank in left
        ]
        gradients = [jax.grad(loss)(params, batch) for batch in batches]
        mean = jax.tree.map(lambda *each: sum(each) / len(each), *gradients)
        params = jax.tree.map(lambda x, gradient: x - rate * gradient, params, mean)
    for run in _runs_of(steps, "ddp", task):
        np.testing.assert_allclose(flat(run.model), flat(params), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("algorithm", COLLECTIVES)
def test_a_failure_ends_the_run_of_all(algorithm):
    def loader(rank, num_workers):
        yield from itertools.islice(endless_batches(rank, num_workers), 5 if rank == 1 else None)
        raise DataError("a batch is gone")

    runs = _runs_of((ENDLESS,) * 3, algorithm, loader=loader)
    assert [type(run.error) for run in runs] == [PeerFailedError, DataError, PeerFailedError]
    assert {run.summary.failure for run in runs} == {"a batch is gone"}


@pytest.mark.parametrize("algorithm", ["ddp", "co2", "osgp"])
def test_a_run_can_be_ended_after_so_much_time(algorithm):
    """Clocks never agree, so the numbers of steps need not either."""
    config = make_config(algorithm, stop={"steps": None, "seconds": 0.4})
    run = run_local(make_task(), make_arrays(), num_workers=3, config=config)
    assert run.summary.status == "finished"
    assert run.summary.steps_total > 3


@pytest.mark.parametrize("algorithm", ["local", "pairwise", "push_sum", "ddp", "co2", "osgp"])
def test_a_run_can_be_ended_after_so_many_samples(algorithm):
    workers, batch, target = 3, 8, 2000
    config = make_config(algorithm, stop={"steps": None, "samples": target})
    run = run_local(make_task(), make_arrays(), num_workers=workers, config=config)
    assert run.summary.status == "finished"
    assert run.summary.samples_total >= target
    # Each may have taken some steps before it learned of the others' last ones.
    assert run.summary.samples_total <= target + 10 * workers * batch


def test_faster_workers_do_the_work_of_slower_ones():
    delay = {"ranks": (0,), "seconds": 0.05}
    config = make_config("pairwise", stop={"steps": None, "samples": 1600}, delay=delay)
    sinks = {rank: [Sink()] for rank in range(2)}
    run = run_local(make_task(), make_arrays(), num_workers=2, config=config, sinks=sinks)
    slow, fast = (sinks[rank][0].of(StepRecord)[-1].samples for rank in range(2))
    assert slow < fast
    assert slow + fast == run.summary.samples_total


def test_sgp_keeps_weight_1_throughout():
    sinks = {rank: [Sink()] for rank in range(4)}
    run_local(make_task(), make_arrays(), config=make_config("sgp"), sinks=sinks)
    for rank in range(4):
        for line in sinks[rank][0].of(StepRecord):
            assert line.push_sum_weight_min in (0.5, 1.0)  # half is given right after the step
