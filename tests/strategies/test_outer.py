"""Outer optimizers against their equations, and when rounds end."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from layup_jax.errors import ConfigError
from layup_jax.strategies.co2 import CO2, CO2Options
from layup_jax.strategies.local_sgd import Rounds
from layup_jax.strategies.outer import OuterOptimization, nesterov, slow_momentum
from layup_jax.strategies.streaming_diloco import Streaming, StreamingDiLoCo
from layup_jax.types import SegmentUpdated

PERIOD = 4


@pytest.mark.parametrize(
    "gamma", [0.3, optax.linear_schedule(0.4, 0.1, 5 * PERIOD)], ids=["constant", "schedule"]
)
def test_slow_momentum_is_in_units_of_gradients(gamma):
    """The paper's u, with the learning rate of each round's last step."""
    alpha, beta, theta, slow = 0.8, 0.6, np.array([1.0, -2.0]), 0.0
    outer = slow_momentum(alpha, beta, gamma, Rounds(PERIOD))
    state = outer.init(jnp.asarray(theta))
    rng = np.random.default_rng(0)
    found = jnp.asarray(theta)
    for turn in range(5):
        rate = gamma((turn + 1) * PERIOD - 1) if callable(gamma) else gamma
        progress = rng.normal(size=2)
        slow = beta * slow + progress / float(rate)
        theta = theta - alpha * float(rate) * slow
        updates, state = outer.update(jnp.asarray(progress), state)
        found = optax.apply_updates(found, updates)
        np.testing.assert_allclose(found, theta, rtol=1e-5)


def test_slow_momentum_survives_a_learning_rate_that_ends_at_0():
    outer = slow_momentum(1.0, 0.5, optax.cosine_decay_schedule(0.1, PERIOD), Rounds(PERIOD))
    state = outer.init(jnp.ones(2))
    for _ in range(3):
        updates, state = outer.update(jnp.zeros(2), state)
        assert np.all(np.isfinite(updates))


def test_slow_momentum_looks_up_the_last_step_of_each_round():
    """Of rounds of one step before the switch, and of a period after it."""
    looked_up = []

    def schedule(step):
        looked_up.append(int(step))
        return 1.0

    outer = slow_momentum(1.0, 0.5, schedule, Rounds(4, local_from=3))
    state = outer.init(jnp.ones(1))
    for _ in range(6):
        _, state = outer.update(jnp.ones(1), state)
    assert looked_up[::2] == [0, 1, 2, 6, 10, 14]
    ends = [step for step in range(15) if Rounds(4, 3).ends_with(step)]
    assert looked_up[::2] == ends


def test_diloco_steps_as_its_published_optimizer_does():
    """D = theta - mean; m <- 0.9 m + D; theta <- theta - 0.7 (D + 0.9 m)."""
    strategy = OuterOptimization(optax.adam(1e-3), Rounds(1), nesterov(0.7, 0.9))
    state = strategy.init(jnp.zeros(1), ())
    theta, momentum = 0.0, 0.0
    for mean in (1.0, 0.5, 2.0):
        progress = theta - mean
        momentum = 0.9 * momentum + progress
        theta -= 0.7 * (progress + 0.9 * momentum)
        state = strategy.receive(state, None, jnp.full(1, mean), 0.0)
        np.testing.assert_allclose(state.params, theta, rtol=1e-6)
        np.testing.assert_allclose(state.mixing.anchor, theta, rtol=1e-6)


@pytest.mark.parametrize(
    ("rounds", "ends"),
    [(Rounds(1), range(12)), (Rounds(4), (3, 7, 11)), (Rounds(4, 2), (0, 1, 5, 9))],
)
def test_rounds_end_every_period_after_the_switch(rounds, ends):
    assert [step for step in range(12) if rounds.ends_with(step)] == list(ends)


def test_the_penalty_is_given_the_gap_that_a_late_mean_has_to_bridge():
    gaps = []

    def penalty(gap):
        gaps.append(float(gap[0]))
        return 2.0

    strategy = CO2(optax.sgd(0.1), 2, CO2Options(1.0, 0.0, None, penalty))
    state = strategy.init(jnp.zeros(1), ())
    for mean in (1.0, 3.0):
        state = strategy.receive(state, None, jnp.full(1, mean), 0.0)
    # theta: 0, 0 + 1 / 2, then 1 / 2 - (0 - 3) / 2: the second mean is of the round that began at 0.
    np.testing.assert_allclose(state.params, 2.0, rtol=1e-6)
    assert gaps == [0.0, 0.5]


def test_fragments_take_turns():
    streaming = Streaming(period=6, fragments=3, delay_steps=1)
    strategy = StreamingDiLoCo(optax.sgd(0.1), streaming, nesterov(0.7, 0.9))
    asked = {
        segment: [
            step for step in range(18) if strategy.requests(SegmentUpdated(segment, step), None)
        ]
        for segment in range(4)
    }
    assert asked == {0: [5, 11, 17], 1: [1, 7, 13], 2: [3, 9, 15], 3: [5, 11, 17]}


@pytest.mark.parametrize(
    ("streaming", "sentence"),
    [
        (Streaming(period=2, fragments=3), "at least as many steps in a period as it has fragm"),
        (
            Streaming(period=8, fragments=2, delay_steps=4),
            r"delay_steps below period / fragments, 4",
        ),
    ],
)
def test_turns_that_would_overlap_are_refused(streaming, sentence):
    with pytest.raises(ConfigError, match=sentence):
        StreamingDiLoCo(optax.sgd(0.1), streaming, nesterov(0.7, 0.9))
