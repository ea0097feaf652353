"""What every strategy must do, whatever it communicates; tried without worker, store or transport.

`Network` performs what a strategy asks for, at once and in order, for workers of one segment each.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from layup_jax.config import StrategyConfig
from layup_jax.draws import Draws
from layup_jax.strategies import STRATEGIES, exchanges, make_strategy
from layup_jax.types import Exchange, Push, SegmentUpdated

CONFIGS = {
    "layup-pairwise": StrategyConfig("layup", mixing="pairwise"),
    "layup-push_sum": StrategyConfig("layup", mixing="push_sum"),
    "layup-per-segment": StrategyConfig("layup", peer_per="segment", probability=0.5),
    "layup-ring": StrategyConfig("layup", topology="ring"),
    "layup-one-peer": StrategyConfig("layup", "push_sum", topology="one_peer_exponential"),
    "a2cid2": StrategyConfig("a2cid2"),
    "a2cid2-ring": StrategyConfig("a2cid2", rate=4.0, topology="ring"),
    "local": StrategyConfig("local"),
    "fused": StrategyConfig("fused"),
}
NOW = 1.5


def _strategy(name, optimizer=None, size=4):
    optimizer = optimizer or optax.sgd(0.1, momentum=0.9)
    return make_strategy(CONFIGS[name], optimizer, size)


@pytest.fixture(params=CONFIGS)
def name(request):
    return request.param


@pytest.fixture
def strategy(name):
    return _strategy(name)


def _params(seed):
    rng = np.random.default_rng(seed)
    return (
        {
            "kernel": jnp.asarray(rng.normal(size=(2, 3)), jnp.float32),
            "half": jnp.asarray(rng.normal(size=3), jnp.bfloat16),
        },
        {},
    )


def _state(strategy, seed=0):
    return strategy.init(_params(seed), ({"mean": jnp.arange(3.0)}, {}))


def _bare(state):
    return state._replace(opt_state=None, model_state=None)


def _send(strategy, state):
    changed, payload = strategy.payload(_bare(state), NOW)
    whole = changed._replace(opt_state=state.opt_state, model_state=state.model_state)
    return whole, payload


def _take(strategy, state, sent, payload):
    changed = strategy.receive(_bare(state), sent, payload, NOW)
    return changed._replace(opt_state=state.opt_state, model_state=state.model_state)


def _meet(strategy, left, right):
    """One communication from left to right: an exchange or a push."""
    left, payload = _send(strategy, left)
    if strategy.one_way:
        return left, _take(strategy, right, None, payload)
    right, reply = _send(strategy, right)
    return _take(strategy, left, payload, reply), _take(strategy, right, reply, payload)


def _assert_equal(left, right):
    jax.tree.map(np.testing.assert_array_equal, left, right)


def _copy(tree):
    return jax.tree.map(np.array, tree)


def test_all_registered_strategies_are_tried():
    assert {config.name for config in CONFIGS.values()} == set(STRATEGIES)


def test_has_its_attributes(name, strategy):
    config = CONFIGS[name]
    assert strategy.name == config.name
    assert exchanges(config) == (strategy.communicates and not strategy.one_way)
    assert (strategy.mixing == "none") == (not strategy.communicates)
    assert (strategy.topology is None) == (not strategy.communicates)
    assert isinstance(strategy.communicates, bool)
    assert isinstance(strategy.one_way, bool)


def test_starts_with_what_it_is_given(strategy):
    state = _state(strategy)
    _assert_equal(state.params, _params(0))
    _assert_equal(state.model_state, ({"mean": np.arange(3.0)}, {}))
    assert strategy.weight(state) == 1


def test_shapes_and_dtypes_stay(strategy):
    state, other = _state(strategy), _state(strategy, 1)
    before = jax.eval_shape(lambda: state)
    after = strategy.apply_gradient(state, _params(2), NOW)
    assert jax.eval_shape(lambda: after) == before
    for each in _meet(strategy, after, other):
        assert jax.eval_shape(lambda each=each: each) == before


def test_a_weight_is_a_float32_scalar(strategy):
    weight = strategy.weight(_state(strategy))
    assert (weight.shape, weight.dtype) == ((), jnp.float32)


def test_arguments_are_not_changed(strategy):
    state, other, grads = _state(strategy), _state(strategy, 1), _params(2)
    kept, copies = (state, other, grads), _copy((state, other, grads))
    _meet(strategy, strategy.apply_gradient(state, grads, NOW), other)
    _assert_equal(kept, copies)


def test_the_model_state_is_handed_on_untouched(strategy):
    state = _state(strategy)
    after = strategy.apply_gradient(state, _params(2), NOW)
    assert after.model_state is state.model_state


def test_same_arguments_give_same_results(strategy):
    first, second = (
        _meet(
            strategy, strategy.apply_gradient(_state(strategy), _params(2), NOW), _state(strategy)
        )
        for _ in range(2)
    )
    _assert_equal(first, second)


def test_compiles_once(strategy, compilations):
    apply, meet = jax.jit(strategy.apply_gradient), jax.jit(lambda a, b: _meet(strategy, a, b))
    state, other = _state(strategy), _state(strategy, 1)
    for attempt in range(2):
        now = 0.5 * attempt
        grads = _params(attempt)
        with compilations() as compiled:
            state = apply(state, grads, now)
            state, other = meet(state, other)
    assert compiled == []


def test_a_gradient_is_applied_by_the_optimizer(strategy):
    optimizer, state, grads = optax.sgd(0.1, momentum=0.9), _state(strategy), _params(2)
    params, opt_state = state.params, optimizer.init(state.params)
    for _ in range(3):
        updates, opt_state = optimizer.update(grads, opt_state, params)
        params = optax.apply_updates(params, updates)
        state = strategy.apply_gradient(state, grads, NOW)
    _assert_equal(state.params, params)
    _assert_equal(state.opt_state, opt_state)


def _mass(strategy, states):
    weights = [float(strategy.weight(state)) for state in states]
    kernels = [np.asarray(state.params[0]["kernel"], np.float64) for state in states]
    return sum(weights), sum(w * x for w, x in zip(weights, kernels, strict=True))


def test_the_weighted_sum_is_kept(strategy):
    states = [_state(strategy, seed) for seed in range(2)]
    weight, total = _mass(strategy, states)
    for turn in range(10):
        states = list(_meet(strategy, *states[:: 1 if turn % 3 else -1]))
        found_weight, found_total = _mass(strategy, states)
        np.testing.assert_allclose(found_weight, weight, rtol=1e-6)
        np.testing.assert_allclose(found_total, total, atol=1e-6)


def test_mass_in_flight_is_not_counted_twice(strategy):
    """Own weight and sent weight add up to what there was."""
    state = _state(strategy)
    after, payload = _send(strategy, state)
    if strategy.one_way:
        assert strategy.weight(after) + payload[1] == strategy.weight(state)
    else:
        _assert_equal(after._replace(mixing=()), state._replace(mixing=()))
        _assert_equal(_send(strategy, after)[0], after)  # at one time nothing more changes
        if strategy.mixing != "continuous_momentum":  # whose clock goes on
            _assert_equal(after, state)


def test_asks_only_for_others_about_the_segment_just_updated(strategy):
    for rank in range(4):
        for step in range(50):
            requests = strategy.requests(SegmentUpdated(2, step), Draws(0, rank))
            assert strategy.communicates or requests == ()
            for request in requests:
                assert request.segment == 2
                assert request.peer in set(range(4)) - {rank}
                assert isinstance(request, Push if strategy.one_way else Exchange)


def test_asks_the_same_for_the_same_event(strategy):
    events = [SegmentUpdated(segment, step) for segment in range(3) for step in range(20)]
    asked = [strategy.requests(event, Draws(0, 1)) for event in events]
    assert asked == [strategy.requests(event, Draws(0, 1)) for event in events]


def test_alone_there_is_nobody_to_ask(name):
    strategy = _strategy(name, size=1)
    assert all(strategy.requests(SegmentUpdated(0, step), Draws(0, 0)) == () for step in range(20))


class Network:
    """Workers with one segment each, whose requests are performed at once."""

    def __init__(self, strategy, starts):
        self._strategy = strategy
        self.states = [strategy.init(jnp.asarray(start), ()) for start in starts]
        self._apply = jax.jit(strategy.apply_gradient)
        self._meet = jax.jit(lambda left, right: _meet(strategy, left, right))

    def update(self, rank, gradient):
        state = self.states[rank]
        self.states[rank] = self._apply(state, gradient(state.params), 0.0)

    def communicate(self, rank, step):
        for request in self._strategy.requests(SegmentUpdated(0, step), Draws(0, rank)):
            pair = self._meet(self.states[rank], self.states[request.peer])
            self.states[rank], self.states[request.peer] = pair


@pytest.mark.parametrize("num_workers", [1, 2, 4])
def test_converges_on_a_quadratic(name, num_workers):
    target = np.array([1.0, -2.0, 3.0], np.float32)
    strategy = _strategy(name, optax.sgd(0.2), num_workers)
    network = Network(strategy, np.eye(4, 3, dtype=np.float32)[:num_workers])
    for step in range(80):
        for rank in range(num_workers):
            network.update(rank, lambda x: x - target)
            network.communicate(rank, step)
    for state in network.states:
        np.testing.assert_allclose(state.params, target, rtol=1e-6)


def test_pairwise_workers_with_different_targets_find_the_mean_of_these(double):
    """With linear gradients taken together, the mean over workers is plain gradient descent."""
    targets = np.random.default_rng(0).normal(size=(4, 3))
    network = Network(_strategy("layup-pairwise", optax.sgd(0.2)), np.zeros((4, 3)))
    for step in range(100):
        for rank, target in enumerate(targets):
            network.update(rank, lambda x, target=target: x - target)
        for rank in range(4):
            network.communicate(rank, step)
    mean = np.mean([state.params for state in network.states], axis=0)
    np.testing.assert_allclose(mean, targets.mean(axis=0), rtol=1e-6)
    apart = max(np.linalg.norm(state.params - mean) for state in network.states)
    assert apart < np.linalg.norm(targets - targets.mean(axis=0), axis=1).max() / 2
