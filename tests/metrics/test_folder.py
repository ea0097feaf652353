import json
import os
from datetime import UTC, datetime

import pytest

from layup_jax.config import DelayConfig, RunConfig
from layup_jax.errors import RunFolderError
from layup_jax.metrics import (
    MetricsRecorder,
    RunFolder,
    TensorBoardWriter,
    describe_environment,
    draw_figure,
)
from tests.metrics.synthetic import step_record, summary, write_run

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def files(path):
    return sorted(str(each.relative_to(path)) for each in path.rglob("*"))


@pytest.fixture
def full(folder):
    """A folder in which a run has written everything."""
    write_run(folder, workers=2)
    folder.write_environment(describe_environment(0, NOW))
    folder.write_summary(summary())
    with TensorBoardWriter(folder.tensorboard(1)) as writer:
        writer.write(step_record())
    draw_figure(folder)
    return folder


def test_a_run_writes_these_files(full):
    names = [name for name in files(full.path) if "tfevents" not in name]
    assert names == [
        "config.json",
        "environment.json",
        "figure.png",
        "rank0",
        "rank0/metrics.jsonl",
        "rank1",
        "rank1/metrics.jsonl",
        "summary.json",
        "tensorboard",
        "tensorboard/rank1",
    ]
    assert full.ranks() == (0, 1)


def test_config_comes_back(folder):
    config = RunConfig(name="other", partition=3, delay=DelayConfig(ranks=(1, 2), seconds=0.05))
    folder.write_config(config)
    assert folder.read_config() == config


@pytest.mark.parametrize(
    "changes",
    [{}, {"status": "failed", "failure": "worker 1 failed first"}, {"test_loss": float("inf")}],
)
def test_summary_comes_back(folder, changes):
    assert folder.read_summary() is None
    folder.write_summary(summary(**changes))
    assert folder.read_summary() == summary(**changes)


def test_environment_comes_back_without_the_host(folder, monkeypatch):
    environment = describe_environment(7, NOW)
    folder.write_environment(environment)
    assert folder.read_environment() == environment
    assert environment.seed == 7
    assert environment.started == "2026-01-02T03:04:05+00:00"
    assert environment.versions["jax"]
    assert os.uname().nodename not in (folder.path / "environment.json").read_text()
    monkeypatch.setenv("PATH", "")
    assert describe_environment(7, NOW).git_commit is None


def test_a_json_file_is_replaced_as_a_whole(folder, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    before = (folder.path / "config.json").read_text()
    with pytest.raises(OSError, match="disk full"):
        folder.write_config(RunConfig(seed=1))
    assert (folder.path / "config.json").read_text() == before


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "deep" / "demo").mkdir(parents=True)
    assert RunFolder.create(tmp_path / "deep", "demo").path == tmp_path / "deep" / "demo"


def test_an_earlier_run_is_kept_without_overwrite(full):
    before = files(full.path)
    with pytest.raises(RunFolderError, match=r"new or empty, got .* --overwrite .*--config\.name="):
        RunFolder.create(full.path.parent, "demo")
    assert files(full.path) == before


def test_a_check_finds_the_same_and_makes_nothing(full, tmp_path):
    before = files(tmp_path)
    with pytest.raises(RunFolderError, match="new or empty"):
        RunFolder.check(full.path.parent, "demo")
    RunFolder.check(full.path.parent, "demo", overwrite=True)
    RunFolder.check(tmp_path / "absent", "demo")
    assert files(tmp_path) == before


def test_overwrite_deletes_an_earlier_run(full):
    RunFolder.create(full.path.parent, "demo", overwrite=True)
    assert files(full.path) == []


def test_overwrite_spares_what_a_run_does_not_write(full):
    spared = ["notes.txt", "rank0/notes.txt", "rankings/metrics.jsonl", "tensorboard/mine"]
    for name in spared:
        (full.path / name).parent.mkdir(exist_ok=True)
        (full.path / name).write_text("mine")
    RunFolder.create(full.path.parent, "demo", overwrite=True)
    assert [name for name in files(full.path) if (full.path / name).is_file()] == sorted(spared)


def test_overwrite_does_not_follow_links(folder, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    with MetricsRecorder(elsewhere / "metrics.jsonl"):
        (folder.path / "rank5").symlink_to(elsewhere)
    RunFolder.create(tmp_path, "demo", overwrite=True)
    assert (elsewhere / "metrics.jsonl").exists()


@pytest.mark.parametrize("config", [None, "{", "[]", json.dumps({"name": "bert", "layers": 12})])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_other_files_is_never_touched(tmp_path, config, overwrite):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "summary.json").write_text("mine")
    if config is not None:
        (tmp_path / "demo" / "config.json").write_text(config)
    before = files(tmp_path)
    with pytest.raises(RunFolderError, match=r"got a folder of other files; use another --config"):
        RunFolder.create(tmp_path, "demo", overwrite=overwrite)
    assert files(tmp_path) == before


def test_a_file_in_the_way_is_an_error(tmp_path):
    (tmp_path / "demo").write_text("")
    with pytest.raises(RunFolderError, match=r"got 'File exists'; choose .*--config\.output="):
        RunFolder.create(tmp_path, "demo", overwrite=True)


def test_open_takes_run_folders_only(folder, tmp_path):
    assert RunFolder.open(folder.path) == folder
    with pytest.raises(
        RunFolderError, match="got no folder of that name; give the folder of a run"
    ):
        RunFolder.open(tmp_path / "none")
    with pytest.raises(RunFolderError, match="got a folder without it"):
        RunFolder.open(tmp_path)
