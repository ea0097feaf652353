"""stragglers: its arithmetic on made-up runs, and its pictures."""

import pytest

from experiments.stragglers.__main__ import headline, summarise
from experiments.stragglers.plot import METHODS, PICTURES
from tests.experiments.emulated_runs import published, runs
from tests.metrics.test_figure import check_picture


@pytest.fixture
def slowdowns():
    plain = {method: runs(100.0, 10.0) for method in METHODS}
    slow = plain | {"layup": runs(78.0, 11.0, accuracy=0.975), "ddp": runs(25.0, 40.0)}
    slower = plain | {"layup": runs(75.0, 12.0), "ddp": runs(12.5, 78.0)}
    return {"1": plain, "4": slow, "8": slower}


def test_numbers(slowdowns):
    assert headline(slowdowns) == {
        "layup_over_local": pytest.approx(0.78 / (3.25 / 4)),
        "ddp_over_local": pytest.approx(0.25),
        "layup_over_ddp_at_8x": pytest.approx(6.5),
        "accuracy_loss": pytest.approx(0.005),
    }
    assert summarise(slowdowns, "1")["8"]["ddp"]["over_local"] == pytest.approx(0.125)


def test_pictures_need_nothing_but_results(slowdowns, environment, tmp_path):
    results = {
        **headline(slowdowns),
        "slowdowns": summarise(slowdowns, "1"),
        "message_seconds": summarise({"0": slowdowns["1"], "0.2": slowdowns["4"]}, "0"),
    }
    text = published(PICTURES, results, environment, tmp_path / "stragglers")
    check_picture(tmp_path / "stragglers" / "results" / "figure.png", least_colours=4)
    assert "| DDP | 1.00 | 10.0 | 0.9800 | 0.25 | 40.0 | 0.9800 | 0.12 | 78.0 | 0.9800 |" in text
    assert "LayUp does 0.96 of the samples a second" in text
    assert "reaches the target 6.5 times as fast as DDP" in text
