"""slow_network: its arithmetic on made-up runs, and its pictures."""

import pytest

from experiments.emulated import medians, time_ratio
from experiments.slow_network.__main__ import best_period, headline, summarise
from experiments.slow_network.plot import EFFICIENT, HEADLINE, METHODS, PICTURES, RATES
from tests.experiments.emulated_runs import published, runs
from tests.metrics.test_figure import check_picture


@pytest.fixture
def rounds():
    made = {method: runs(100.0, 40.0) for method in METHODS}
    return made | {
        "layup": runs(96.0, 20.0),
        "ddp": runs(20.0, 90.0),
        "co2": runs(95.0, 25.0),
        "slowmo": runs(50.0, None),
    }


def test_ratios_are_taken_within_rounds(rounds):
    assert headline(rounds) == {
        "layup_over_local": pytest.approx(0.96),
        "layup_over_ddp": pytest.approx(4.5),
        "layup_over_best_communication_efficient": pytest.approx(1.25),
    }
    assert summarise(rounds)["ddp"]["over_local"] == pytest.approx(0.2)


def test_what_never_reached_the_target_has_no_time(rounds):
    assert medians(rounds["slowmo"])["time_to_target_seconds"] is None
    assert time_ratio(rounds["layup"], rounds["slowmo"]) is None
    assert headline(rounds | {"layup": rounds["slowmo"]})["layup_over_ddp"] is None
    once = [*rounds["layup"][:2], rounds["slowmo"][0]]
    assert medians(once)["time_to_target_seconds"] == 40.0


def test_the_best_period_reaches_the_target_first():
    fast, slow, never, nearly = (
        runs(1.0, seconds, accuracy)[0]
        for seconds, accuracy in ((9.0, 0.97), (10.0, 0.99), (None, 0.5), (None, 0.9))
    )
    assert best_period({4: slow, 8: fast, 16: never}) == 8
    assert best_period({4: never, 8: nearly}) == 8


def test_pictures_need_nothing_but_results(rounds, environment, tmp_path):
    results = {
        **headline(rounds),
        "periods": dict.fromkeys(EFFICIENT, 8),
        "rates": {rate: summarise(rounds) for rate in RATES},
    }
    text = published(PICTURES, results, environment, tmp_path / "slow_network")
    check_picture(tmp_path / "slow_network" / "results" / "figure.png", least_colours=4)
    assert "| LayUp, pairwise |  | 0.96 | 20.0 | 0.96 | 20.0 |" in text
    assert "| SlowMo | 8 | 0.50 | not reached |" in text
    assert f"At {HEADLINE}, with an emulated accelerator" in text
    assert "over DDP 4.50" in text
    assert (
        "1.25 (medians of 3 paired rounds, each with a seed of its own; the last one 1.25 to 1.25)"
        in text
    )
