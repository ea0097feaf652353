"""step_overhead: its arithmetic on made-up timings, its pictures, and one case for real."""

import gc
import json
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.report import earlier, publish, read_results, write_results
from experiments.step_overhead.__main__ import (
    summarise,
    summarise_depths,
    summarise_memory,
)
from experiments.step_overhead.measure import CASES
from experiments.step_overhead.plot import PICTURES, table
from experiments.step_overhead.weighed import WeighedMesh
from tests.metrics.test_figure import check_picture

ROOT = Path(__file__).parents[2]
KEYS = {
    "layerwise_over_fused",
    "layerwise_over_fused_unbound",
    "step_seconds_layerwise",
    "step_seconds_fused",
    "step_seconds_layerwise_unbound",
    "step_seconds_fused_unbound",
    "compile_seconds_layerwise",
    "compile_seconds_fused",
    "segments",
    "jitted_calls",
    "overhead_seconds",
    "dispatch_seconds",
    "dispatch_share_of_overhead",
    "rounds",
}
AUTO_KEYS = {"auto_over_fused", "auto_over_fused_unbound", "partition"}


def test_numbers_of_a_case(printed):
    case = summarise(*printed)
    assert case.keys() == KEYS | AUTO_KEYS
    assert case["layerwise_over_fused"] == pytest.approx(1.2)
    assert case["layerwise_over_fused_unbound"] == pytest.approx(1.6)
    assert case["auto_over_fused"] == pytest.approx(1.0)
    assert case["jitted_calls"] == 23
    assert case["dispatch_seconds"] == pytest.approx(0.001)
    assert case["dispatch_share_of_overhead"] == pytest.approx(0.5)


def test_without_overhead_there_is_no_share_of_it(printed):
    compiled, steps = printed
    steps["bound"]["rounds"]["layer"] = steps["bound"]["rounds"]["model"]
    case = summarise(compiled, steps)
    assert case["dispatch_share_of_overhead"] is None
    assert table({"mlp": case})


def test_on_an_accelerator_nothing_is_bound_and_its_columns_are_left_out(printed):
    compiled, steps = printed
    del steps["bound"]
    case = summarise(compiled, steps)
    assert case["layerwise_over_fused"] == pytest.approx(1.6)
    assert case.keys().isdisjoint({"layerwise_over_fused_unbound", "dispatch_seconds"})
    text = table({"gpt2": case})
    assert "| gpt2 | 5.00 | **1.60** | 1.20 | 23 | 2.0 / 3.0 |" in text
    assert "dispatch" not in text.splitlines()[0]


def test_numbers_of_depth_and_memory(printed):
    deep = summarise_depths((12, 48), {"few": 2.0, "many": 2.2, "fused": 11.0})
    assert deep["compile_48_over_12"] == pytest.approx(1.1)
    assert deep["compile_layerwise_over_fused_48"] == pytest.approx(0.2)
    found = {
        "layer": {"measured": 103_000_000, "counted": 60_000_000},
        "model": {"measured": 100_000_000, "counted": 80_000_000},
    }
    memory = summarise_memory(found)
    assert memory["peak_memory_over_fused"] == pytest.approx(1.03)
    assert memory["counted_memory_over_fused"] == pytest.approx(0.75)
    text = table({"gpt": summarise(*printed) | deep | memory})
    assert "over 12 blocks 1.10, over the fused step of 48 blocks 0.20 (2.2 s, 11.0 s)" in text
    assert "step's 1.03 (103 MB, 100 MB), by XLA's count 0.75 (60 MB, 80 MB)." in text


def test_memory_is_counted_with_what_exists_and_without_what_is_overwritten():
    gc.collect()  # what is found later would be missed
    already = jnp.ones(2_000_000)
    kept, given = WeighedMesh(), WeighedMesh()
    numbers = jnp.ones(1_000_000)
    for mesh, donated in ((kept, ()), (given, 0)):
        double = mesh.jit(lambda values: values * 2, donate_argnums=donated)
        np.testing.assert_array_equal(double(numbers + 0), 2.0)
        assert double(numbers[:3]).shape == (3,)
    assert already.size == 2_000_000
    assert (kept.peak_bytes, given.peak_bytes) == (12_000_000, 8_000_000)


def test_cases_of_an_earlier_run_are_kept(environment, tmp_path):
    assert earlier(tmp_path, smoke=False) == {}
    write_results(tmp_path, {"mlp": {"segments": 12}, "environment": environment})
    assert earlier(tmp_path, smoke=False) == {"mlp": {"segments": 12}}
    assert earlier(tmp_path, smoke=True) == {}


def test_pictures_need_nothing_but_results(printed, environment, tmp_path):
    folder = tmp_path / "step_overhead"
    (folder / "results").mkdir(parents=True)
    (folder / "results_gpu").mkdir()
    readme = folder / "README.md"
    readme.write_text((PICTURES.folder / "README.md").read_text())
    results = {name: summarise(*printed) for name in CASES}
    write_results(folder / "results", {**results, "environment": environment})
    publish(PICTURES._replace(folder=folder), folder / "results")
    check_picture(folder / "results" / "figure.png", least_colours=20)
    assert "| resnet18 | 12.00 | **1.20** | 1.60 |" in readme.read_text()
    assert "Measured 2026-01-02 in 10 minutes: Some CPU, 2 cores" in readme.read_text()
    versions = {"jax": "1.2.3", "flax": "0.1", "mpi4jax": None, "openmpi": None}
    on_gpu = {**environment, "device": "Some GPU", "versions": versions}
    write_results(folder / "results_gpu", {**results, "environment": on_gpu})
    before = readme.read_text()
    publish(PICTURES._replace(folder=folder), folder / "results_gpu")
    assert "Some GPU, Some CPU, 2 cores, Python 3.11.7, jax 1.2.3, flax 0.1." in readme.read_text()
    ours = "results_gpu: begin"
    assert before.partition(ours)[0] == readme.read_text().partition(ours)[0]


def test_one_small_case_for_real(tmp_path):
    before = (PICTURES.folder / "README.md").read_text()
    command = [sys.executable, "-m", "experiments.step_overhead", f"--out={tmp_path}", "--smoke"]
    done = subprocess.run(
        [*command, "--cases=tiny_mlp"], cwd=ROOT, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr
    results = read_results(tmp_path)
    assert results.keys() == {"tiny_mlp", "environment"}
    case = results["tiny_mlp"]
    assert case.keys() == KEYS | AUTO_KEYS | {"compute_dtype"}
    assert case["segments"] == 12
    assert 0.2 < case["layerwise_over_fused"] < 50
    assert case["compile_seconds_layerwise"] > 0
    assert {len(each) for each in case["rounds"]["bound"].values()} == {2}
    assert results["environment"]["smoke"] is True
    assert results["environment"]["cpu"]
    assert (tmp_path / "figure.png").exists()
    assert json.dumps(results, allow_nan=False)
    assert (PICTURES.folder / "README.md").read_text() == before
