"""Whole runs with emulated layers, stragglers and slow links."""

import numpy as np
import pytest
from local_runs import endless_batches, flat, make_config, make_task

from layup_jax.errors import ConfigError
from layup_jax.run import run_local

LINK = {"ranks": (1,), "message_seconds": 0.002, "pattern": "exponential", "link_mbit": 1.0}
EVERYTHING = {
    "delay": LINK | {"seconds": 0.001, "backward_seconds": 0.001, "slowdown": 1.5},
    "emulation": {"forward_seconds": 0.0005, "backward_seconds": 0.001},
}


def _run(algorithm, **changes):
    config = make_config(algorithm, partition=2) | changes
    return run_local(make_task(), endless_batches, num_workers=3, config=config)


@pytest.mark.parametrize("algorithm", ["ddp", "slowmo"])
def test_what_waits_for_all_gets_the_same_however_late(algorithm):
    late, plain = _run(algorithm, **EVERYTHING), _run(algorithm)
    np.testing.assert_array_equal(flat(late.model), flat(plain.model))
    assert (late.summary.emulated, plain.summary.emulated) == (True, False)


@pytest.mark.parametrize("algorithm", ["pairwise", "push_sum", "a2cid2", "lap_sgd"])
def test_gossip_behind_slow_links_loses_nothing(algorithm):
    summary = _run(algorithm, delay=LINK | {"ranks": "all"}).summary
    assert (summary.status, summary.steps_total) == ("finished", 3 * 6)
    assert summary.messages_sent > 0
    assert summary.push_sum_weight_error < 1e-6


@pytest.mark.parametrize("schedule", ["interleaved", "decoupled", "shared"])
def test_artificial_time_is_time_of_training(schedule):
    """Six steps of three threads at most, of four layers with parameters each."""
    emulation = {"forward_seconds": 0.01, "backward_seconds": 0.02}
    run = _run("local", pipeline=schedule, emulation=emulation)
    assert run.summary.train_seconds >= 6 * 4 * 0.03 / 3


def test_a_worker_alone_may_have_a_slow_link():
    config = make_config(delay=LINK | {"ranks": "all"})
    run = run_local(make_task(), endless_batches, num_workers=1, config=config)
    assert run.summary.status == "finished"


def test_who_is_delayed_must_be_there():
    with pytest.raises(ConfigError, match="must be among the 3 workers, 0 to 2, got 3; change it"):
        _run("local", delay={"ranks": (1, 3), "seconds": 0.1})
