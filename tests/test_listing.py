"""`layup list`: everything there is, on one line each, and quickly."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from layup_jax.listing import Entry, Group, catalogue, show
from layup_jax.models import MODELS
from layup_jax.strategies import STRATEGIES
from layup_jax.topology import TOPOLOGIES

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture
def groups(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    return {group.key: dict(group.entries) for group in catalogue()}


def test_everything_that_can_be_named_is_there_with_a_summary(groups):
    assert list(groups["strategy.name"]) == list(STRATEGIES)
    assert list(groups["strategy.topology"]) == [*TOPOLOGIES, "path of a file"]
    assert list(groups["model.name"]) == list(MODELS)
    assert list(groups["data.name"]) == ["digits", "stdlib", "any name of TFDS"]
    for entries in groups.values():
        for name, summary in entries.items():
            assert len(summary) > 10, name
            assert summary[0].isupper(), name
            assert not summary.endswith("."), name


def test_data_sets_on_disk_are_found_by_the_names_that_tfds_gives_them(tmp_path, monkeypatch):
    for folder in ("mnist/3.0.1", "glue/cola/2.0.0", "layup_digits/1.0.0"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "dataset_info.json").touch()
    (tmp_path / "downloads" / "extracted").mkdir(parents=True)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    *_, data_sets = catalogue()
    names = [entry.name for entry in data_sets.entries]
    assert names == ["digits", "stdlib", "glue/cola", "mnist", "any name of TFDS"]
    assert str(tmp_path) in data_sets.entries[2].summary


def test_long_summaries_go_on_below_themselves_in_80_columns(tmp_path):
    group = Group("things", "a.key", (Entry("short", "w " * 60), Entry("longer", "[not markup]")))
    with (tmp_path / "out").open("w") as file:
        show([group, group], Console(file=file, width=80))
    lines = (tmp_path / "out").read_text().splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "things  --config.a.key="
    assert lines[1].startswith("  short   w w")
    assert lines[2].startswith("          w w")
    assert lines[3].rstrip() == "  longer  [not markup]"
    assert lines[4] == ""
    assert lines[5] == lines[0]


PROGRAM = """
import sys
from layup_jax import cli
assert cli.main(["list"]) == 0
from jax._src import xla_bridge
assert not xla_bridge.backends_are_initialized()
heavy = {"mpi4py", "mpi4jax", "tensorflow_datasets", "networkx", "matplotlib", "sklearn"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""


def test_it_starts_neither_mpi_nor_jax_and_reads_well_in_a_pipe(tmp_path):
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TFDS_DATA_DIR": str(tmp_path / "no")}
    environ.pop("COLUMNS", None)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert all(
        len(line) <= 80 for line in lines if "TFDS" not in line and str(tmp_path) not in line
    )
    assert "\x1b" not in done.stdout
