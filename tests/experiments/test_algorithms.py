"""algorithms: its arithmetic on made-up runs, its pictures, and one short run for real."""

import pytest

from experiments.algorithms.__main__ import Measured, summarise
from experiments.algorithms.plot import METHODS, PICTURES
from experiments.pd_asgd.__main__ import QUALITIES
from experiments.report import publish, write_results
from layup_jax.config import validated
from layup_jax.config_file import load_config
from layup_jax.strategies import STRATEGIES
from tests.metrics.test_figure import check_picture


def _run(accuracy=0.99, time=2.0):
    return Measured(1 - accuracy, accuracy, accuracy - 0.01, 5000.0, time, 100.0, 0.5, 0.1, 7.0)


def test_numbers():
    results = summarise([_run(0.98, 1.0), _run(0.99, 3.0), _run(0.97, None)])
    assert results["test_accuracy"] == pytest.approx(0.98)
    assert results["spread"]["test_accuracy"] == pytest.approx(0.01)
    assert (results["time_to_target_seconds"], results["reached"]) == (2.0, 2)
    assert len(results["runs"]) == 3


def test_a_single_seed_has_no_spread():
    results = summarise([_run(time=None)])
    assert results["spread"]["test_accuracy"] is None
    assert (results["time_to_target_seconds"], results["reached"]) == (None, 0)


def test_every_algorithm_has_a_row_and_its_configuration():
    decoupled = QUALITIES["accuracy"].methods.values()
    threaded = {method.name for method in decoupled if method.workers == 4} - {"ddp"}
    configs = [validated(load_config(f"configs/digits.py:{name}")) for name in METHODS]
    # `fused` is `local` as fast as it can be, and no algorithm of its own; `hogwild` has one worker.
    found = {config.strategy.name for config in configs} | threaded
    assert found == STRATEGIES.keys() - {"fused", "hogwild"}
    assert "hogwild" in {method.name for method in decoupled}


def test_pictures_need_nothing_but_results(environment, tmp_path):
    folder = tmp_path / "algorithms"
    (folder / "results").mkdir(parents=True)
    readme = folder / "README.md"
    readme.write_text((PICTURES.folder / "README.md").read_text())
    methods = {name: summarise([_run(), _run(0.98)]) for name in METHODS}
    methods["local"] = summarise([_run(time=None)])
    results = {"methods": methods, "workers": 4, "seeds": [0, 1], "environment": environment}
    write_results(folder / "results", results)
    publish(PICTURES._replace(folder=folder), folder / "results")
    check_picture(folder / "results" / "figure.png", least_colours=2)
    assert "| DDP | 0.9850 ± 0.0071 |" in readme.read_text()
    assert "| no communication | 0.9900 | 0.9800 | 5,000 | never |" in readme.read_text()
