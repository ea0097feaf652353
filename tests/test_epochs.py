"""What epochs and a global batch mean to so many workers, against numbers worked out by hand."""

import numpy as np
import pytest
from local_runs import make_arrays, make_config, make_task

import layup_jax
from layup_jax.config import validated
from layup_jax.epochs import counts_epochs, for_workers
from layup_jax.errors import ConfigError
from layup_jax.optimizers import learning_rate_schedule

CIFAR = {
    "batch_size": 128,
    "optimizer": {
        "learning_rate": 0.1,
        "reference_batch": 128,
        "warmup_epochs": 5,
        "schedule": "step",
        "decay_at": (0.5, 0.75),
    },
    "stop": {"steps": None, "epochs": 200},
}


def _planned(values, workers, samples):
    return for_workers(validated(values), num_workers=workers, num_samples=samples)


def test_cifar_on_eight_workers():
    """50,000 / 8 = 6,250 samples, 48 batches of 128: 9,600 steps, 240 of them warm-up, 8 x 0.1."""
    config = _planned(CIFAR, 8, 50_000)
    assert (config.stop.steps, config.stop.epochs) == (9600, None)
    rate = learning_rate_schedule(config.optimizer, config.stop.steps)
    expected = {
        0: 0,
        60: 0.2,
        240: 0.8,
        4799: 0.8,
        4800: 0.08,
        7199: 0.08,
        7200: 0.008,
        9600: 0.008,
    }
    for step, value in expected.items():
        np.testing.assert_allclose(rate(step), value, rtol=1e-6)
    assert for_workers(config, num_workers=8, num_samples=50_000) == config


@pytest.mark.parametrize(
    ("strategy", "workers", "accumulate", "rate"),
    [
        ("layup", 4, 1, 0.4),
        ("ddp", 4, 2, 0.8),
        ("ad_psgd", 1, 1, 0.1),
        ("local", 4, 1, 0.1),
        ("fused", 4, 2, 0.2),
    ],
)
def test_the_rate_grows_with_what_is_averaged(strategy, workers, accumulate, rate):
    values = {
        "batch_size": 256,
        "optimizer": {"reference_batch": 256, "accumulate_steps": accumulate},
        "strategy": {"name": strategy},
    }
    config = _planned(values, workers, None)
    assert config.optimizer.learning_rate == pytest.approx(rate)
    assert config.stop.steps == 300


def test_a_warm_up_in_epochs_counts_updates_and_steps_may_come_first():
    values = {
        "batch_size": 10,
        "optimizer": {"warmup_epochs": 0.5, "accumulate_steps": 5},
        "stop": {"steps": 70, "epochs": 2.5},
    }
    config = _planned(values, 2, 1000)
    assert (config.stop.steps, config.optimizer.warmup_steps) == (70, 5)
    assert _planned(values | {"stop": {"steps": None, "epochs": 0.001}}, 2, 1000).stop.steps == 1


def test_without_epochs_the_data_do_not_matter():
    config = validated({"stop": {"steps": 7}})
    assert not counts_epochs(config)
    assert for_workers(config, num_workers=3, num_samples=None) == config


def test_epochs_need_a_known_number_of_samples_that_fill_a_batch():
    with pytest.raises(ConfigError, match="samples is known, got documents or a function; set"):
        _planned(CIFAR, 8, None)
    with pytest.raises(ConfigError, match="a batch of 128 for each of 8 workers, got 1000 samples"):
        _planned(CIFAR, 8, 1000)


def test_a_warm_up_is_counted_in_one_way():
    with pytest.raises(ConfigError, match=r"warmup_steps 3 and .warmup_epochs 1.0; set one to 0"):
        validated({"optimizer": {"warmup_steps": 3, "warmup_epochs": 1}})


def test_workers_train_for_their_epochs():
    config = make_config("pairwise", batch_size=10, stop={"steps": None, "epochs": 2})
    run = layup_jax.run_local(make_task(), make_arrays(60), num_workers=2, config=config)
    assert run.summary.steps_total == 2 * 2 * 3
