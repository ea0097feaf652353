"""data_waiting: its arithmetic on made-up timings, its table and its picture."""

import pytest

from experiments.data_waiting.__main__ import summarise
from experiments.data_waiting.measure import CASES
from experiments.data_waiting.plot import PICTURES, table
from experiments.report import publish, write_results
from tests.metrics.test_figure import check_picture

PRINTED = {
    "none": [[0.010, 0.001], [0.020, 0.001], [0.010, 0.0005]],
    "two": [[0.011, 0.002], [0.021, 0.001], [0.012, 0.0006]],
}


def test_numbers_of_a_case():
    case = summarise(PRINTED)
    assert case["none"] == {"step_seconds": 0.01, "data_seconds": 0.001, "data_share": 0.05}
    assert case["two"]["data_share"] == pytest.approx(0.05)
    assert case["two_over_none"] == pytest.approx(1.1)
    assert "| digits | 10.00 | 1.000 | **5.0%** | 5.0% | 1.10 |" in table({"digits": case})


def test_pictures_need_nothing_but_results(environment, tmp_path):
    results = {name: summarise(PRINTED) for name in CASES}
    write_results(tmp_path, {**results, "environment": environment})
    publish(PICTURES, tmp_path)
    check_picture(tmp_path / "figure.png", least_colours=20)
