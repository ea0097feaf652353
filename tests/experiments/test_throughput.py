"""throughput: its arithmetic on made-up runs, its pictures, and short runs for real."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.report import publish, read_results, write_results
from experiments.throughput.__main__ import METHODS, Measured, summarise
from experiments.throughput.config import get_config
from experiments.throughput.plot import PICTURES
from layup_jax.config import validated
from layup_jax.config_file import Override, overridden
from tests.metrics.test_figure import check_picture

ROOT = Path(__file__).parents[2]
LAYUP = {"push_sum_host", "pairwise_mpi4jax"}
RATIOS = (
    "layup_over_local",
    "layup_over_local_straggler",
    "layup_over_fused",
    "layup_over_fused_straggler",
    "peak_rss_over_local",
)
SCALARS = {
    "layup_over_ddp": 80 / 50,
    "layup_over_ddp_straggler": 80 / 50,
    "ddp_efficiency": 50 / 200,
    "torch_ddp_efficiency": 20 / 160,
    "layup_over_torch_ddp": 80 / 20,
    "layup_over_torch_ddp_straggler": 80 / 20,
    "layup_over_jax_distributed": None,
    "layup_over_jax_distributed_straggler": None,
    "layup_over_decent_dp": None,
    "layup_over_decent_dp_straggler": None,
}


@pytest.fixture
def rounds():
    """Of our methods, and of one rival where two are missing."""
    speeds = {
        "fused": 200.0,
        "local": 100.0,
        "push_sum_host": 90.0,
        "pairwise_mpi4jax": 80.0,
        "ddp_segments": 50.0,
        "ddp_model": 40.0,
    }
    scales = (1.0, 3.0, 2.0)
    ours = {
        name + suffix: [Measured(speed * scale, 1000, 5, 4) for scale in scales]
        for suffix in ("", "_straggler")
        for name, speed in speeds.items()
    }
    torch = [Measured(20 * scale) for scale in scales]
    alone = [Measured(160 * scale) for scale in scales]
    return {**ours, "torch_ddp": torch, "torch_ddp_straggler": torch, "torch_local": alone}


def check_schema(results, count):
    for key in RATIOS:
        assert results[key].keys() == LAYUP
        assert all(value > 0 for value in results[key].values())
    assert results["samples_per_second"].keys() >= {*METHODS, "straggler"}
    assert results["samples_per_second"]["straggler"].keys() >= METHODS.keys()
    assert results["rounds"].keys() >= {*METHODS, *(f"{name}_straggler" for name in METHODS)}
    assert results.keys() >= SCALARS.keys()
    assert {len(each) for each in results["rounds"].values()} == {count}


def test_numbers(rounds):
    results = summarise(rounds)
    check_schema(results, 3)
    assert results["layup_over_local"]["push_sum_host"] == pytest.approx(0.9)
    assert results["layup_over_fused_straggler"]["pairwise_mpi4jax"] == pytest.approx(0.4)
    assert results["samples_per_second"]["fused"] == 400.0
    assert {key: results[key] for key in SCALARS} == pytest.approx(SCALARS)


def test_ddp_is_the_better_of_its_forms_in_each_round(rounds):
    """Which may differ from round to round."""
    rounds["ddp_model"] = [Measured(each, 1000, 5, 1) for each in (100.0, 10.0, 10.0)]
    results = summarise(rounds)  # LayUp 80, 240, 160 over DDP 100, 150, 100
    assert results["layup_over_ddp"] == pytest.approx(1.6)
    assert results["ddp_efficiency"] == pytest.approx(0.25)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_method_is_a_valid_configuration(method):
    overrides = [Override(*each[len("--config.") :].split("=")) for each in method.overrides()]
    config = validated(overridden(get_config(), overrides))
    assert config.strategy.name == method.strategy
    assert config.evaluation.every_steps == 0


def test_pictures_need_nothing_but_results(rounds, environment, tmp_path):
    folder = tmp_path / "throughput"
    (folder / "results").mkdir(parents=True)
    readme = folder / "README.md"
    readme.write_text((PICTURES.folder / "README.md").read_text())
    settings = {"workers": 4, "run_seconds": 8.0, "delay_seconds": 0.05}
    settings["rival_versions"] = {"torch": "2.13.0"}
    results = {**summarise(rounds), **settings, "environment": environment}
    write_results(folder / "results", results)
    publish(PICTURES._replace(folder=folder), folder / "results")
    check_picture(folder / "results" / "figure.png", least_colours=20)
    written = readme.read_text()
    same = "180 | 0.90 | 0.45 | 0.89"
    assert f"| LayUp push-sum, host | {same} | {same} | 1.00 |" in written
    assert "in one sum: 1.60, with the straggler 1.60. DDP over" in written
    assert "Rivals: jax.distributed, torch 2.13.0." in written
    assert "| PyTorch, no communication | 320 |  |  | 0.50 |  |  |  |  |  |" in written


def _run(*words, timeout, **environ):
    command = [sys.executable, "-m", "experiments.throughput", "--smoke", *words]
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


@pytest.mark.mpi
def test_a_failing_run_is_one_sentence(tmp_path):
    done = _run(f"--out={tmp_path}", "--workers=2", timeout=110, JAX_PLATFORMS="nonsense")
    assert done.returncode == 2
    *progress, sentence = done.stderr.splitlines()
    assert len(progress) == 1
    config = "--config=experiments/throughput/config.py"
    assert sentence.startswith(f"experiments.throughput: layup train {config} --config.strategy")
    assert "ended with status" in sentence
    assert list(tmp_path.iterdir()) == []


@pytest.mark.mpi
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_workers_for_real(tmp_path):
    words = ("--workers=2", "--rounds=1", "--seconds=0.5")
    done = _run(f"--out={tmp_path}", *words, timeout=850)
    assert done.returncode == 0, done.stderr
    results = read_results(tmp_path)
    check_schema(results, 1)
    assert results["workers"] == 2
    assert results["rounds"]["push_sum_host"][0]["messages_sent"] > 0
    assert (tmp_path / "figure.png").exists()
