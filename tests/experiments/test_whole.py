"""Whole experiments on made-up runs: from the command line to results, figure and the seeds of rounds."""

import contextlib
import json
import re
import runpy
import shutil
import signal
import sys
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import pytest

from experiments import harness
from experiments.throughput import rivals
from layup_jax import virtual_cluster
from tests.metrics.synthetic import summary

FOLDER = Path(harness.__file__).parent
CAUSES = ("forward", "turn", "backward", "update", "communication", "waiting", "data")
SEED = re.compile(r"--config\.seed=(\d+)")

# What stands on the command line for two rounds.
EXPERIMENTS = {
    "ablations": ("--rounds=2",),
    "algorithms": ("--rounds=2",),
    "batch_statistics": ("--rounds=2",),
    "mfu": ("--cases=none", "--seeds=2"),
    "pd_asgd": ("--parts=accuracy,text", "--seeds=2"),
    "slow_network": ("--rounds=2", "--rates=200mbit"),
    "stragglers": ("--rounds=2",),
    "throughput": ("--rounds=2",),
    "time_to_accuracy": ("--rounds=2", "--others=2"),
}


@contextlib.contextmanager
def _no_hosts(workers):
    yield SimpleNamespace(limit=lambda rate: None)


@pytest.fixture
def commands(monkeypatch):
    """The commands of the runs that were asked for, none of which takes place."""
    asked = []

    def run_process(command, **_):
        asked.append(command)
        return ""

    made_up = summary(
        test_accuracy_per_worker=(0.98,) * 4,
        mfu=0.2,
        peak_flops_per_second=1e11,
        time_split=dict.fromkeys(CAUSES, 0.01),
    )
    folder = SimpleNamespace(read_summary=lambda: made_up)
    monkeypatch.setattr(harness, "run_process", run_process)
    monkeypatch.setattr(harness, "RunFolder", SimpleNamespace(open=lambda path: folder))
    monkeypatch.setattr(rivals, "available", list)
    monkeypatch.setattr(virtual_cluster, "virtual_hosts", _no_hosts)
    before = signal.getsignal(signal.SIGTERM)
    yield asked
    signal.signal(signal.SIGTERM, before)


def _results(name, out, monkeypatch, *arguments):
    """Of the experiment, with this command line."""
    monkeypatch.delitem(sys.modules, f"experiments.{name}.__main__", raising=False)
    monkeypatch.setattr(sys, "argv", [name, f"--out={out}", *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"experiments.{name}.__main__", run_name="__main__")
    assert not ended.value.code
    return json.loads((out / "results.json").read_text())


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_rounds_have_a_seed_each_and_all_that_is_compared_has_it(
    name, commands, monkeypatch, tmp_path
):
    if name == "pd_asgd":  # only some of its parts are runs
        shutil.copy(FOLDER / name / "results" / "results.json", tmp_path)
    results = _results(name, tmp_path, monkeypatch, "--seed=5", *EXPERIMENTS[name])
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    assert results["environment"]["seed"] == 5

    seeds = defaultdict(list)
    for command in commands:
        (seed,) = [int(match[1]) for match in map(SEED.fullmatch, command) if match]
        seeds[tuple(each for each in command if not SEED.fullmatch(each))].append(seed)
    # That one first tries periods, with a seed of their own, and then repeats the best.
    expected = {(5,), (5, 6, 7), (6, 7)} if name == "slow_network" else {(5, 6)}
    assert set(map(tuple, seeds.values())) == expected


@pytest.mark.parametrize(
    ("name", "less", "where", "again"),
    [
        ("mfu", ("--cases=none", "--methods=layup"), ("methods",), {"layup"}),
        ("slow_network", ("--rates=200mbit",), ("rates",), {"200mbit"}),
        (
            "stragglers",
            ("--methods=gosgd",),
            ("slowdowns", "8"),
            {"local", "layup", "gosgd", "ddp"},
        ),
        ("time_to_accuracy", ("--cases=digits_resnet",), ("cases",), {"digits_resnet"}),
        (
            "time_to_accuracy",
            ("--cases=digits_resnet", "--methods=gosgd", "--others=2"),
            ("cases", "digits_resnet", "methods"),
            {"gosgd"},
        ),
    ],
)
@pytest.mark.usefixtures("commands")
def test_what_is_not_asked_for_again_stays(name, less, where, again, monkeypatch, tmp_path):
    def found(rounds, *arguments):
        results = _results(name, tmp_path, monkeypatch, f"--{rounds[0]}={rounds[1]}", *arguments)
        for key in where:
            results = results[key]
        return results

    rounds = "seeds" if name == "mfu" else "rounds"
    everything = found((rounds, 2), *(["--cases=none"] if name == "mfu" else []))
    after = found((rounds, 3), *less)
    assert list(after) == list(everything)
    assert {key for key in after if after[key] != everything[key]} == again


def test_other_rates_take_the_periods_that_were_tuned(commands, monkeypatch, tmp_path):
    everything = _results("slow_network", tmp_path, monkeypatch, "--rates=200mbit")
    everything["periods"]["diloco"] = 17
    (tmp_path / "results.json").write_text(json.dumps(everything))
    commands.clear()
    after = _results("slow_network", tmp_path, monkeypatch, "--rates=1gbit", "--seed=3")
    assert list(after["rates"]) == ["200mbit", "1gbit"]
    for key in ("periods", "tuning", "seeds", "layup_over_ddp"):
        assert after[key] == everything[key]
    assert after["rates"]["200mbit"] == everything["rates"]["200mbit"]
    asked = [each for each in commands if "--config=configs/emulated.py:diloco" in each]
    assert ["--config.strategy.period=17" in each for each in asked] == [True]


@pytest.mark.parametrize(
    ("rates", "sentence"),
    [
        ("1gbit", "periods are tuned at 200mbit, got no results of that in "),
        ("none", "links must have a rate, got none; "),
    ],
)
def test_rates_that_give_no_results_are_refused(
    rates, sentence, commands, monkeypatch, capsys, tmp_path
):
    with pytest.raises(AssertionError):
        _results("slow_network", tmp_path, monkeypatch, f"--rates={rates}")
    assert f": {sentence}" in capsys.readouterr().err
    assert commands == []
