import json

import pytest

from layup_jax.errors import ReportError, RunFolderError
from layup_jax.report import check_comparable, compare, read_runs
from tests.report.made_runs import made_run


def compared(*paths):
    return compare(read_runs(paths))


def test_finished_runs_that_differ_in_their_seed_are_one_group(tmp_path):
    paths = [made_run(tmp_path, f"ddp_{seed}", config={"seed": seed}) for seed in (3, 4)]
    failed = made_run(tmp_path, "ddp_5", config={"seed": 5}, status="failed", failure="No.")
    other = made_run(tmp_path, "ddp_6", config={"seed": 6, "pipeline": "decoupled"})
    fewer = made_run(tmp_path, "ddp_7", config={"seed": 7}, workers=2)
    comparison = compared(paths[0], failed, other, paths[1], fewer)
    labels = [each.label for each in comparison.groups]
    assert labels == ["ddp (2 runs)", "ddp_5", "ddp_6", "ddp_7"]
    assert [each.path for each in comparison.groups[0].runs] == paths
    assert comparison.groups[1].runs[0].status == "failed: No."
    assert comparison.differing == ("pipeline",)
    assert {"seed", "name", "pipeline"}.isdisjoint(comparison.shared)
    assert comparison.shared["model.name"] == "conv"


def test_groups_have_different_labels_though_their_folders_have_one_name(tmp_path):
    one = made_run(tmp_path / "a", "run")
    two = made_run(tmp_path / "b", "run", config={"partition": "layer"})
    assert [each.label for each in compared(one, two).groups] == [str(one), str(two)]
    seeds = [made_run(tmp_path, name, config={"seed": 9}) for name in ("first", "second")]
    assert [each.label for each in compared(*seeds).groups] == ["layup (2 runs)"]


def test_a_run_that_was_killed_says_so(tmp_path):
    (run,) = read_runs([made_run(tmp_path, "killed", ended=False)])
    assert (run.summary, run.workers, len(run.series)) == (None, 4, 4)
    assert run.status.startswith("not ended: there is no summary.json")


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"model": {"name": "mlp"}, "batch_size": 64}, "batch_size"),
        ({"model": {"options": {"channels": [8, 8]}}}, "model.options.channels"),
        ({"data": {"test_samples": 10}}, "data.test_samples"),
        ({"optimizer": {"learning_rate": 0.2}}, "optimizer.learning_rate"),
        ({"stop": {"steps": 10}}, "stop.steps"),
        ({"emulation": {"forward_seconds": 0.1}}, "emulation.forward_seconds"),
    ],
)
def test_different_tasks_are_refused_with_the_first_key_that_differs(tmp_path, config, key):
    runs = read_runs([made_run(tmp_path, "a"), made_run(tmp_path, "b", config=config)])
    with pytest.raises(ReportError, match=rf"^config\.{key} must be equal .* or add --mixed$"):
        check_comparable(runs)


def test_different_algorithms_compare(tmp_path):
    config = {
        **{"seed": 1, "partition": "model", "pipeline": "decoupled", "remat": "full"},
        "strategy": {"name": "ddp", "mixing": "push_sum"},
        "transport": {"data_plane": "host"},
        "delay": {"ranks": [1], "seconds": 0.1},
        "data": {"data_dir": "/somewhere"},
    }
    runs = read_runs([made_run(tmp_path, "a"), made_run(tmp_path, "b", config=config)])
    check_comparable(runs)
    assert "strategy.mixing" in compare(runs).differing
    assert "data.data_dir" not in compare(runs).differing


def test_an_option_that_is_none_is_one_that_is_not_there(tmp_path):
    config = {"model": {"options": {"dropout": None}}}
    one, two = made_run(tmp_path, "a"), made_run(tmp_path, "b", config=config)
    assert compared(one, two).shared["model.options.dropout"] is None
    assert compared(one, two).differing == ()


def test_options_with_tuples_equal_themselves_after_json(tmp_path):
    config = {"model": {"options": {"channels": (8, 8)}}}
    runs = read_runs([made_run(tmp_path, name, config=config) for name in "ab"])
    assert runs[0].settings["model.options.channels"] == (8, 8)
    assert len(compare(runs).groups) == 1


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("summary.json", "{", "must be the summary of a run of this version"),
        ("summary.json", "[]", "must be the summary of a run of this version"),
        ("summary.json", '{"status": "finished"}', "must be the summary of a run of this version"),
        ("config.json", {"sed": 1}, "must be a run folder of this version"),
        ("rank0/metrics.jsonl", "1\n2\n", "line 1 of .* must be a record of metrics"),
    ],
)
def test_a_damaged_folder_is_named(tmp_path, file, content, sentence):
    path = made_run(tmp_path, "run")
    if isinstance(content, dict):
        content = json.dumps(json.loads((path / file).read_text()) | content)
    (path / file).write_text(content)
    with pytest.raises(RunFolderError, match=sentence):
        read_runs([path])
