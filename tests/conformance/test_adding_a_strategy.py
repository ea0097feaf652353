"""An algorithm of one's own is one short file; it passes the suite, and trains unregistered."""

from pathlib import Path

import example_strategy
import numpy as np
import pytest
from example_strategy import ElasticAveraging
from local_runs import flat, make_arrays, make_config, make_task

from layup_jax.run import run_local
from layup_jax.strategies import STRATEGIES
from layup_jax.strategies.base import OptaxStrategy
from layup_jax.testing import strategies


def _make(optimizer, num_workers):
    del num_workers
    return ElasticAveraging(optimizer)


def test_the_file_is_short():
    lines = Path(example_strategy.__file__).read_text().splitlines()
    assert len(lines) < 60
    assert ElasticAveraging.name not in STRATEGIES


@pytest.mark.parametrize("check", strategies.CHECKS, ids=lambda check: check.__name__)
def test_conforms(check):
    check(_make)


def test_keeps_the_promise_about_gradients():
    strategies.applies_gradients_as_optax_does(_make)


@pytest.mark.parametrize("partition", ["layer", "model", "auto"])
def test_trains(partition):
    config = make_config(partition=partition, stop={"steps": 150}, evaluation={"every_steps": 0})
    run = run_local(
        make_task(learning_rate=0.3),
        make_arrays(512),
        num_workers=4,
        config=config,
        strategy=_make,
    )
    summary = run.summary
    assert (summary.status, summary.algorithm, summary.mixing) == (
        "finished",
        "elastic_averaging",
        "elastic",
    )
    assert summary.test_accuracy > 0.85
    assert summary.messages_sent > 0
    assert np.all(np.isfinite(flat(run.model)))


def test_the_configured_algorithm_is_left_out():
    """Its options, and what "auto" means for it, too."""
    strategy = {"name": "sgp", "topology": "star"}  # which does not exist
    config = make_config(strategy=strategy, partition="auto", stop={"steps": 2})
    run = run_local(make_task(), make_arrays(), num_workers=2, config=config, strategy=_make)
    assert run.summary.algorithm == "elastic_averaging"
    assert run.summary.partition.startswith("auto")


class Nameless(OptaxStrategy):
    """Says nothing, not even what it is called."""

    def requests(self, event, draws):
        """None."""
        del event, draws
        return ()


def test_a_strategy_without_a_name_is_called_like_its_class():
    run = run_local(
        make_task(),
        make_arrays(),
        num_workers=2,
        config=make_config(stop={"steps": 2}),
        strategy=lambda optimizer, _: Nameless(optimizer),
    )
    assert (run.summary.algorithm, run.summary.mixing) == ("Nameless", "none")
