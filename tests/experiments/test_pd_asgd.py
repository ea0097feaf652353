"""pd_asgd: its arithmetic on made-up timings, its pictures, and one network for real."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.pd_asgd.__main__ import headline, summarise_case, summarise_runs
from experiments.pd_asgd.plot import PICTURES
from experiments.pd_asgd.timing import AUTO, PARTITIONS, RATIOS, REFERENCE
from experiments.report import publish, write_results
from tests.metrics.test_figure import check_picture

ROOT = Path(__file__).parents[2]
SECONDS = {REFERENCE: 0.012, "1:1": 0.009, "1:2": 0.006, "1:3": 0.0065, AUTO: 0.006}


def _block(schedule, slower=1.0):
    block = {"step_seconds": SECONDS[schedule] * slower, "cores_busy": 1.5}
    names = ("forward", "backward", "delay", "full", "empty", "slot")
    times = (0.004, 0.008, 0.0036, 0.001, 0.0005, 0.0001)
    if schedule == REFERENCE:
        times = (None,) * len(names)
    return block | {f"{name}_seconds": time for name, time in zip(names, times, strict=True)}


@pytest.fixture
def printed():
    """What a process prints for a network of five segments; the second round is twice as slow."""
    names = [f"{schedule} {partition}" for partition in PARTITIONS for schedule in SECONDS]
    return {
        "blocks": {name: [_block(name.split()[0], slow) for slow in (1, 2, 1)] for name in names},
        "schedules": dict.fromkeys(names, "in words"),
        "staleness_histograms": {name: [[1, 1], [0, 2]] for name in names},
        "reasons": {f"{AUTO} {partition}": ["because"] for partition in PARTITIONS},
        "batch_size": 128,
        "segments": 5,
        "step_flops": 1.2e8,
        "passes_alone": {
            "forward_seconds": 0.003,
            "backward_seconds": 0.006,
            "core_seconds": 0.009,
        },
        "peak_flops_per_core": 2e10,
        "cores": 2,
    }


def test_numbers_of_a_case(printed):
    case = summarise_case(printed)
    row = case["schedules"]["1:2 layer"]
    assert row["over_interleaved"] == pytest.approx(2.0)
    assert row["samples_per_second"] == pytest.approx(128 / 0.006)
    assert row["mfu"] == pytest.approx(1.2e8 / 0.006 / 4e10)
    assert row["beta"] == pytest.approx(2.0)
    # Five segments: backward passes of 8 ms wait 8 * (5 - 1) / (2 * 5) ms for the layers before.
    assert row["update_delay_predicted_seconds"] == pytest.approx(0.0032)
    assert row["staleness_measured_over_predicted"] == pytest.approx(0.0036 / 0.0032)
    assert row["staleness_versions_mean"] == pytest.approx(0.75)
    whole = case["schedules"]["1:2 model"]
    assert whole["update_delay_predicted_seconds"] == pytest.approx(0.008)
    assert "beta" not in case["schedules"]["interleaved layer"]
    assert (case["best_ratio"], case["auto_over_best"]) == ("1:2", pytest.approx(1.0))
    assert case["backward_over_forward"] == pytest.approx(2.0)
    top = headline(case)
    assert top["decoupled_over_interleaved"] == pytest.approx(2.0)
    assert top["staleness_measured_over_predicted"] == pytest.approx(1.125)
    assert top["auto_over_best"] == pytest.approx(1.0)


def test_accuracies():
    runs = [{"test_accuracy": a, "staleness_mean": 0.5} for a in (0.98, 0.99, 1.0)]
    found = summarise_runs(runs, "test_accuracy")
    assert found["test_accuracy"] == pytest.approx(0.99)
    assert found["spread"] == pytest.approx(0.01)
    assert summarise_runs(runs[:1], "test_accuracy")["spread"] is None


def test_pictures_need_nothing_but_results(printed, environment, tmp_path):
    folder = tmp_path / "pd_asgd"
    (folder / "results").mkdir(parents=True)
    readme = folder / "README.md"
    readme.write_text((PICTURES.folder / "README.md").read_text())
    case = summarise_case(printed)
    bias = {
        "learning_rate": 0.01,
        "test_accuracy": 0.5,
        "bias_mean": 0.01,
        "bias_max": 0.02,
        "gradient_norm_max": 2.0,
        "lipschitz": 30.0,
        "staleness_max": 4,
        "bound": None,
    }
    run = {"test_accuracy": 0.99, "staleness_mean": 0.5, "test_loss": 2 * math.log(2)}
    results = {
        **headline(case),
        "cases": {"conv": case, "mlp": case},
        "bias": [bias, {**bias, "bound": 0.25}],
        "accuracy": {"synchronous SGD": summarise_runs([run, run], "test_accuracy")},
        "text": {"PD-ASGD 1:2": summarise_runs([run, run], "test_loss")},
        "environment": environment,
    }
    write_results(folder / "results", results)
    publish(PICTURES._replace(folder=folder), folder / "results")
    check_picture(folder / "results" / "figure.png", least_colours=4)
    text = readme.read_text()
    assert (
        "| conv, layer by layer | 1:2 | 21,333 | 2.00 | 50% | 1.50 | 3.6 / 3.2 = 1.12 | 0.75 |"
        in text
    )
    assert "| 0.01 | 0.010 | 0.020 | none | 2.00 | 30.0 | 4 | 0.500 |" in text
    assert "| synchronous SGD | 0.9900 ± 0.0000 | 0.50 |" in text
    assert "| PD-ASGD 1:2 | 2.000 ± 0.000 | 0.50 |" in text


def _run(module, job):
    done = subprocess.run(
        [sys.executable, "-m", f"experiments.pd_asgd.{module}", json.dumps(job)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_one_network_for_real():
    measured = _run("timing", {"case": "conv", "rounds": 2, "steps": 2, "settle_steps": 4})
    case = summarise_case(measured)
    assert case["segments"] == 6
    assert case["step_flops"] > 1e8
    assert case["peak_flops_per_core"] > 1e9
    assert set(case["schedules"]) == {
        f"{each} {partition}" for each in (REFERENCE, *RATIOS, AUTO) for partition in PARTITIONS
    }
    for name, row in case["schedules"].items():
        assert 0 < row["mfu"] < 2
        assert len(row["rounds"]) == 2
        assert (row["over_interleaved"] == 1) == name.startswith(REFERENCE)
    assert case["auto"][0].startswith("decoupled ")


@pytest.mark.slow
def test_the_bias_of_a_short_run_for_real():
    found = _run("bias", {"learning_rate": 0.001, "steps": 30})
    assert found["staleness_max"] >= 1
    assert 0 < found["bias_mean"] <= found["bias_max"]
    assert found["lipschitz"] > 0
    if found["bound"] is not None:
        assert found["bias_max"] <= found["bound"]
