"""Optimizers built from configurations, against their update rules written out."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from local_runs import endless_batches, make_config, make_task

import layup_jax
from layup_jax.config import OptimizerConfig
from layup_jax.optimizers import decayed, evaluated, learning_rate_schedule, make_optimizer

PARAMS = {"kernel": jnp.array([[1.0, -2.0]]), "bias": jnp.array([3.0])}
GRADS = {"kernel": jnp.array([[0.5, 0.25]]), "bias": jnp.array([-1.0])}


def _steps(config, count, steps=None):
    """Parameters after each of `count` steps with the same gradient."""
    optimizer = make_optimizer(config, steps)
    params, state, history = PARAMS, optimizer.init(PARAMS), []
    for _ in range(count):
        updates, state = optimizer.update(GRADS, state, params)
        params = optax.apply_updates(params, updates)
        history.append(params)
    return history


def test_weight_decay_leaves_vectors_and_scalars_alone():
    assert decayed(PARAMS | {"scale": jnp.ones(())}) == {
        "kernel": True,
        "bias": False,
        "scale": False,
    }


def test_sgd_with_momentum_and_weight_decay():
    config = OptimizerConfig("sgd", learning_rate=0.1, momentum=0.5, weight_decay=0.01)
    x, b = np.array([[1.0, -2.0]]), np.array([3.0])
    velocity_x, velocity_b = 0, 0
    for params in _steps(config, 3):
        velocity_x = 0.5 * velocity_x + np.array([[0.5, 0.25]]) + 0.01 * x
        velocity_b = 0.5 * velocity_b - 1.0
        x, b = x - 0.1 * velocity_x, b - 0.1 * velocity_b
        np.testing.assert_allclose(params["kernel"], x, rtol=1e-6)
        np.testing.assert_allclose(params["bias"], b, rtol=1e-6)


def test_plain_sgd():
    (params,) = _steps(OptimizerConfig("sgd", learning_rate=0.1, momentum=0.0), 1)
    np.testing.assert_allclose(params["kernel"], [[0.95, -2.025]], rtol=1e-6)


def test_adamw_decays_matrices_only():
    config = OptimizerConfig("adamw", learning_rate=0.1, weight_decay=0.5)
    (params,) = _steps(config, 1)
    # The first step of Adam is the sign of the gradient, up to its epsilon of 1e-8.
    np.testing.assert_allclose(params["kernel"], [[1 - 0.1 - 0.05, -2 - 0.1 + 0.1]], rtol=1e-6)
    np.testing.assert_allclose(params["bias"], [3.1], rtol=1e-6)


def test_clipping_is_by_the_norm_of_what_is_given():
    config = OptimizerConfig("sgd", learning_rate=1.0, momentum=0.0, clip_norm=0.1)
    (params,) = _steps(config, 1)
    norm = np.sqrt(0.5**2 + 0.25**2 + 1)
    np.testing.assert_allclose(params["bias"], [3 + 0.1 / norm], rtol=1e-6)
    config = OptimizerConfig("sgd", learning_rate=1.0, momentum=0.0, clip_norm=10.0)
    np.testing.assert_allclose(_steps(config, 1)[0]["bias"], [4.0], rtol=1e-6)


@pytest.mark.parametrize(
    ("config", "steps", "expected"),
    [
        (OptimizerConfig(learning_rate=0.4), None, {0: 0.4, 1000: 0.4}),
        (OptimizerConfig(learning_rate=0.4, warmup_steps=4), None, {0: 0, 1: 0.1, 4: 0.4, 9: 0.4}),
        (OptimizerConfig(learning_rate=0.4, schedule="cosine"), 10, {0: 0.4, 5: 0.2, 10: 0, 99: 0}),
        (
            OptimizerConfig(learning_rate=0.4, schedule="cosine", warmup_steps=4, decay_steps=8),
            99,
            {0: 0, 2: 0.2, 4: 0.4, 6: 0.2, 8: 0, 20: 0},
        ),
        (
            OptimizerConfig(
                learning_rate=0.4, schedule="step", decay_at=(0.5, 0.75), decay_factor=0.5
            ),
            10,
            {0: 0.4, 4: 0.4, 5: 0.2, 7: 0.2, 8: 0.1, 99: 0.1},
        ),
        (
            OptimizerConfig(
                learning_rate=0.4, schedule="step", decay_at=(0.1, 0.2), warmup_steps=4
            ),
            2,  # shorter than its warm-up: both falls are at step 0
            {0: 0, 1: 0.001, 2: 0.002},
        ),
    ],
)
def test_schedules(config, steps, expected):
    schedule = learning_rate_schedule(config, steps)
    for step, rate in expected.items():
        value = schedule(step) if callable(schedule) else schedule
        np.testing.assert_allclose(value, rate, atol=1e-6)


def test_a_warm_up_longer_than_the_run_is_no_error():
    config = OptimizerConfig(learning_rate=0.4, schedule="cosine", warmup_steps=20)
    np.testing.assert_allclose(learning_rate_schedule(config, 10)(10), 0.2, atol=1e-6)


def test_the_schedule_is_followed_by_the_updates():
    config = OptimizerConfig("sgd", learning_rate=0.4, momentum=0.0, warmup_steps=2)
    biases = [float(params["bias"][0]) for params in _steps(config, 3)]
    np.testing.assert_allclose(biases, [3.0, 3.2, 3.6], rtol=1e-6)


def test_accumulated_gradients_make_one_update_of_their_mean():
    config = OptimizerConfig("sgd", learning_rate=0.1, momentum=0.5, accumulate_steps=2)
    optimizer = make_optimizer(config, None)
    params, state = PARAMS, optimizer.init(PARAMS)
    seen = []
    for factor in (1.0, 3.0, 2.0, 2.0):
        grads = jax.tree.map(lambda leaf, by=factor: by * leaf, GRADS)
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        seen.append(float(params["bias"][0]))
    np.testing.assert_allclose(seen, [3.0, 3.2, 3.2, 3.5], rtol=1e-6)  # velocity 2, then 3


def test_a_schedule_counts_updates():
    config = OptimizerConfig(schedule="cosine", accumulate_steps=4)
    assert float(learning_rate_schedule(config, 400)(100)) == pytest.approx(0.0)


def test_the_average_of_parameters_is_what_is_evaluated():
    config = OptimizerConfig("sgd", learning_rate=0.1, momentum=0.0, average_decay=0.75)
    optimizer = make_optimizer(config, None)
    params, state = PARAMS, optimizer.init(PARAMS)
    expected = 3.0
    for _ in range(4):
        updates, state = optimizer.update(GRADS, state, params)
        params = optax.apply_updates(params, updates)
        expected = 0.75 * expected + 0.25 * float(params["bias"][0])
    assert float(params["bias"][0]) == pytest.approx(3.4)
    assert float(evaluated(params, state)["bias"][0]) == pytest.approx(expected)
    assert evaluated(params, optax.sgd(0.1).init(params)) is params


def test_runs_return_the_average():
    """With a decay of nearly 1 it is still what training began with."""
    optimizer = make_optimizer(OptimizerConfig(average_decay=0.999999), None)
    task = make_task()._replace(optimizer=optimizer)
    config = make_config("pairwise", stop={"steps": 20})
    run = layup_jax.run_local(task, endless_batches, num_workers=2, config=config)
    initial = task.model.segment(0, len(task.model)).init()[0]
    jax.tree.map(
        lambda ours, before: np.testing.assert_allclose(ours, before, atol=1e-3),
        [layer for segment in run.model.params for layer in segment],
        list(initial),
    )
