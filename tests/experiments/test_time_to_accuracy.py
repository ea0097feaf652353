"""time_to_accuracy: who runs which seeds, its ratio on made-up runs, its pictures, its options."""

import re

import pytest

from experiments.algorithms.__main__ import Measured, summarise
from experiments.algorithms.plot import METHODS
from experiments.harness import ExperimentError
from experiments.report import publish, write_results
from experiments.time_to_accuracy import __main__ as experiment
from experiments.time_to_accuracy.plot import PICTURES
from layup_jax.config import validated
from layup_jax.config_file import load_config
from tests.metrics.test_figure import check_picture


def _run(loss=2.0):
    return Measured(loss, 0.4, 0.39, 500.0, None, 100.0, 0.5, 0.1, 60.0)


def _options(*more, out="unused"):
    return experiment._parser().parse_args([f"--out={out}", "--rounds=3", *more])


@pytest.fixture
def seen(monkeypatch):
    """(configuration, seed) of each run; a run's loss is its seed."""
    runs = []

    def train(config, overrides, **_):
        runs.append((config, overrides[0]))
        return overrides[0]

    monkeypatch.setattr(experiment, "train", train)
    monkeypatch.setattr(experiment, "measured", lambda seed: _run(loss=float(seed[-1])))
    return runs


def _losses(results, case="stdlib_gpt"):
    methods = results["cases"][case]["methods"]
    return {name: [run["test_loss"] for run in each["runs"]] for name, each in methods.items()}


def test_those_compared_run_all_seeds_and_the_others_the_first(seen):
    options = _options("--methods=ddp,sgp,layup", "--cases=stdlib_gpt", "--seed=4")
    results = experiment.measure(options)
    assert _losses(results) == {"layup": [4, 5, 6], "sgp": [4], "ddp": [4, 5, 6]}
    assert len(seen) == len(set(seen)) == 7


def test_rounds_that_are_missing_are_added(environment, seen, tmp_path):
    first = experiment.measure(_options("--methods=sgp,ddp", "--cases=stdlib_gpt", out=tmp_path))
    write_results(tmp_path, {**first, "environment": environment})
    seen.clear()
    more = "--methods=sgp,local,ddp", "--cases=stdlib_gpt", "--others=2"
    added = experiment.measure(_options(*more, "--add", out=tmp_path))
    assert _losses(added) == {"sgp": [0, 1], "ddp": [0, 1, 2], "local": [0, 1]}
    now = {(config.partition(":")[2], seed[-1]) for config, seed in seen}
    assert now == {("local", "0"), ("local", "1"), ("sgp", "1")}
    assert len(seen) == 3
    assert _losses(experiment.measure(_options(*more, out=tmp_path)))["sgp"] == [0, 1]
    assert len(seen) == 3 + 7  # without --add all are measured again


def test_cases_of_an_earlier_run_are_kept(environment, monkeypatch, tmp_path):
    monkeypatch.setattr(experiment, "measure_case", lambda *_: {"methods": {}})
    first = experiment.measure(_options("--cases=stdlib_gpt", out=tmp_path))
    write_results(tmp_path, {**first, "environment": environment})
    second = experiment.measure(_options("--cases=digits_resnet", out=tmp_path))
    assert list(second["cases"]) == ["digits_resnet", "stdlib_gpt"]


def test_layup_over_ddp_is_that_of_the_text():
    def case(**losses):
        return {"methods": {name: summarise([_run(loss)]) for name, loss in losses.items()}}

    cases = {"digits_resnet": case(layup=9.0, ddp=1.0), "stdlib_gpt": case(layup=2.02, ddp=2.0)}
    assert experiment.ratios(cases) == {"layup_over_ddp_loss": pytest.approx(1.01)}
    assert experiment.ratios({"stdlib_gpt": case(layup=2.0)}) == {}
    assert experiment.ratios({"digits_resnet": case(layup=9.0, ddp=1.0)}) == {}


@pytest.mark.parametrize("case", experiment.CASES)
def test_every_algorithm_has_its_configuration(case):
    for name in METHODS:
        assert validated(load_config(f"configs/{case}.py:{name}")).model.name in ("gpt", "resnet18")


@pytest.mark.parametrize("option", ["--cases=gpt", "--methods=layup,dpp"])
def test_unknown_names_are_refused(option):
    with pytest.raises(ExperimentError, match=r"must be among \w+.*, got '\w+'"):
        _options(option)


def test_pictures_need_nothing_but_results(environment, tmp_path):
    folder = tmp_path / "time_to_accuracy"
    (folder / "results").mkdir(parents=True)
    readme = folder / "README.md"
    readme.write_text((PICTURES.folder / "README.md").read_text())
    methods = {name: summarise([_run(), _run(2.1)]) for name in METHODS}
    methods["layup"] = summarise([_run(4.1)])
    cases = {name: {"methods": methods, "steps": 300, "target": 0.4} for name in experiment.CASES}
    results = {
        "layup_over_ddp_loss": 1.01,
        "workers": 4,
        "cases": cases,
        "environment": environment,
    }
    write_results(folder / "results", results)
    publish(PICTURES._replace(folder=folder), folder / "results")
    check_picture(folder / "results" / "figure.png", least_colours=2)
    row = r"\(target 0\.4\) \| DDP \| 2 \| 2\.0500 ± 0\.0707 \| 0\.4000 ± 0\.0000 \| never \|"
    assert len(re.findall(row, readme.read_text())) == len(experiment.CASES)
    ratios = "2.0000 (small GPT, Python's library), 2.0000 (GPT, Python's library)."
    assert f"LayUp over that of DDP, means: {ratios}" in readme.read_text()
