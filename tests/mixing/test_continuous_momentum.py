"""Continuous momentum against its equations, and against gossip without it."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from layup_jax.mixing.continuous_momentum import Momentum, flow, merge, momentum
from layup_jax.topology import complete, exponential, ring

WORKERS = 16


@pytest.mark.parametrize("exponent", [0.0, 0.01, 0.7, 50.0])
def test_flow_is_the_matrix_exponential(exponent):
    rng = np.random.default_rng(0)
    both = rng.normal(size=(2, 5))
    x, twin = flow(jnp.asarray(both[0]), jnp.asarray(both[1]), jnp.asarray(exponent))
    expected = scipy.linalg.expm(exponent * np.array([[-1.0, 1.0], [1.0, -1.0]])) @ both
    np.testing.assert_allclose(np.stack([x, twin]), expected, rtol=1e-5, atol=1e-6)


def test_a_merge_keeps_what_was_added_meanwhile_and_the_pairs_sums():
    rng = np.random.default_rng(1)
    sent, twins, meanwhile = rng.normal(size=(3, 2, 4))
    now = sent + meanwhile
    left = merge(now[0], twins[0], sent[0], sent[1], 1.7)
    right = merge(now[1], twins[1], sent[1], sent[0], 1.7)
    np.testing.assert_allclose(left[0] + right[0], now.sum(axis=0))
    np.testing.assert_allclose(left[1] + right[1], twins.sum(axis=0))
    np.testing.assert_allclose(left[0], sent.mean(axis=0) + meanwhile[0])
    np.testing.assert_allclose(left[1], twins[0] + 1.7 * (sent[1] - sent[0]))


def test_on_a_complete_graph_there_is_nothing_to_gain():
    graph = complete(8)
    assert momentum(graph.chi1(), graph.chi2()).alpha == pytest.approx(0.5)
    assert momentum(0.0, 0.0) == Momentum(0.0, 0.5)


@pytest.mark.parametrize("rate", [0.5, 2.0, 4.0])
def test_a_rate_only_changes_the_unit_of_time(rate):
    graph = exponential(32)
    once, often = momentum(graph.chi1(), graph.chi2()), momentum(graph.chi1(rate), graph.chi2(rate))
    assert often.eta == pytest.approx(rate * once.eta)
    assert often.alpha == pytest.approx(once.alpha)


def _decay(constants, graph, units, seed):
    """Rate at which the logarithm of the squared consensus distance falls, in units of time."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(WORKERS, 32)).astype(np.float32)
    twin, since, now, trace = x.copy(), np.zeros(WORKERS), 0.0, []
    while now < units:
        now += rng.exponential(2 / WORKERS)  # a worker exchanges once in a unit of time
        first = int(rng.integers(WORKERS))
        second = graph.peer(first, 0, rng.random())
        for rank in (first, second):
            exponent = jnp.asarray(constants.eta * (now - since[rank]))
            x[rank], twin[rank] = flow(x[rank], twin[rank], exponent)
            since[rank] = now
        sent = x[[first, second]]
        x[first], twin[first] = merge(sent[0], twin[first], sent[0], sent[1], constants.alpha)
        x[second], twin[second] = merge(sent[1], twin[second], sent[1], sent[0], constants.alpha)
        trace.append((now, np.log(np.sum((x - x.mean(axis=0)) ** 2))))
    times, logs = np.array(trace).T
    return -np.polyfit(times, logs, 1)[0]


def test_a_ring_mixes_faster_with_momentum():
    """By sqrt(chi1 / chi2) = 3.7 in the theory of the slowest mode; 2.5 to 2.8 on four seeds here."""
    graph = ring(WORKERS)
    constants = momentum(graph.chi1(), graph.chi2())
    gains = [
        _decay(constants, graph, 60.0, seed) / _decay(Momentum(0.0, 0.5), graph, 60.0, seed)
        for seed in range(2)
    ]
    assert min(gains) > 1.5
