"""What only LayUp promises: when it asks, and whom; the rest is in conformance."""

from collections import Counter

import numpy as np
import pytest
import tiny

from layup_jax.draws import Draws
from layup_jax.strategies import LayUpOptions, layup
from layup_jax.topology import complete
from layup_jax.types import Exchange, Push, SegmentUpdated

STEPS = 2000


def _asked(options, segments=3, size=5, rank=2):
    """Peers by step and segment; None where it asked for nothing."""
    strategy = layup(tiny.sgd(), complete(size), options)
    rows = []
    for step in range(STEPS):
        requests = [
            strategy.requests(SegmentUpdated(segment, step), Draws(0, rank))
            for segment in range(segments)
        ]
        rows.append(tuple(each[0].peer if each else None for each in requests))
    return rows


@pytest.mark.parametrize(("mixing", "kind"), [("pairwise", Exchange), ("push_sum", Push)])
def test_the_mixing_rule_decides_what_is_asked_for(mixing, kind):
    strategy = layup(tiny.sgd(), complete(2), LayUpOptions(mixing))
    assert strategy.requests(SegmentUpdated(3, 0), Draws(0, 0)) == (kind(3, 1),)


def test_every_update_asks_by_default():
    rows = _asked(LayUpOptions())
    assert all(None not in row for row in rows)


def test_one_peer_for_a_step_or_one_for_each_segment():
    assert all(len(set(row)) == 1 for row in _asked(LayUpOptions(peer_per="step")))
    rows = _asked(LayUpOptions(peer_per="segment"))
    # Three independent draws out of four peers agree once in sixteen.
    assert np.mean([len(set(row)) == 1 for row in rows]) == pytest.approx(1 / 16, abs=0.02)


@pytest.mark.parametrize("peer_per", ["step", "segment"])
def test_peers_are_uniform(peer_per):
    counts = Counter(peer for row in _asked(LayUpOptions(peer_per=peer_per)) for peer in row)
    assert set(counts) == {0, 1, 3, 4}
    # Four standard deviations of a count of 2000 (or 6000, of which three always agree) at 1/4.
    spread = 4 * np.sqrt(STEPS * 3 / 16) * (3 if peer_per == "step" else np.sqrt(3))
    assert all(abs(count - 3 * STEPS / 4) < spread for count in counts.values())


@pytest.mark.parametrize("probability", [0.1, 0.7])
@pytest.mark.parametrize("peer_per", ["step", "segment"])
def test_asks_with_the_gossip_probability(probability, peer_per):
    rows = _asked(LayUpOptions(peer_per=peer_per, probability=probability))
    asked = np.array([[peer is not None for peer in row] for row in rows])
    # Four standard deviations of the mean of 2000 draws.
    assert np.mean(asked[:, 0]) == pytest.approx(probability, abs=0.045)
    all_agree = np.all(asked == asked[:, :1])
    assert all_agree == (peer_per == "step")


def test_whom_to_ask_does_not_depend_on_whether():
    always = _asked(LayUpOptions(peer_per="segment"))
    seldom = _asked(LayUpOptions(peer_per="segment", probability=0.3))
    for every, some in zip(always, seldom, strict=True):
        assert all(peer in (None, mate) for peer, mate in zip(some, every, strict=True))


def test_workers_ask_different_peers():
    ranks = [_asked(LayUpOptions(), segments=1, rank=rank) for rank in (0, 4)]
    agree = np.mean([a == b for a, b in zip(*ranks, strict=True)])
    assert agree == pytest.approx(3 / 16, abs=0.04)  # 1 to 3 are common, each with 1/4 by 1/4
