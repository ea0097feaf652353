import pytest

from layup_jax.errors import LayupError
from layup_jax.report import write_report
from tests.report.made_runs import made_run


def test_each_file_is_what_its_name_says(tmp_path):
    path = made_run(tmp_path / "runs", "run")
    outs = [tmp_path / f"out.{suffix}" for suffix in ("html", "md", "csv")]
    outs[1].write_text("an earlier report")
    write_report([path], outs)
    beginnings = [out.read_text().splitlines()[0] for out in outs]
    assert beginnings[0] == "<!doctype html>"
    assert beginnings[1].startswith("| run | seeds | algorithm |")
    assert beginnings[2].startswith("run,seeds,algorithm,workers,")
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize(
    ("folders", "outs", "sentence"),
    [
        ([], ["x.md"], "a report needs run folders, got none"),
        (["run"], ["x.md", "x.pdf"], r"must end in one of \.html, \.md, \.csv, got '.*x\.pdf'"),
        (["run"], ["x.md", "x"], "must end in one of"),
        (["run"], ["x.md", "no/x.csv"], "x.csv' must be a file that can be written, got 'No such"),
        (["run"], ["x.md", "taken.csv"], "taken.csv' must be a file .* got 'Is a directory'"),
        (["run"], ["x.md", "run/config.json/x.csv"], "must be a file .* got 'Not a directory'"),
        (["run"], ["x.md", f"{'x' * 300}.csv"], "must be a file .* got 'File name too long'"),
        (["run", "../here/run"], ["x.md"], "must be given once, got it twice"),
        (["run", "taken.csv"], ["x.md"], "must be a run folder with its config.json"),
        (["run", "none"], ["x.md"], "must be a run folder .* got no folder of that name"),
        (["run", "larger"], ["x.md"], r"config\.batch_size must be equal .* got 32 in .* and 64"),
    ],
)
def test_bad_input_writes_nothing(tmp_path, folders, outs, sentence):
    here = tmp_path / "here"
    made_run(here, "run")
    made_run(here, "larger", config={"batch_size": 64})
    (here / "taken.csv").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(LayupError, match=sentence):
        write_report([here / each for each in folders], [here / each for each in outs])
    assert sorted(tmp_path.rglob("*")) == before


def test_mixed_runs_show_what_differs(tmp_path):
    one = made_run(tmp_path, "one")
    two = made_run(tmp_path, "two", config={"batch_size": 64, "evaluation": {"target": 0.5}})
    out = tmp_path / "report.md"
    write_report([one, two], [out], mixed=True)
    header, _, first, second = out.read_text().splitlines()
    assert "| time to target (s) |" in header
    assert header.endswith("| batch\\_size | evaluation.target |")
    assert first.endswith("| 32 | 0.97 |")
    assert second.endswith("| 64 | 0.5 |")
