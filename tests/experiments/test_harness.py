"""What experiments share: rounds, command lines, processes that end, READMEs."""

import argparse
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest

from experiments.harness import (
    ExperimentError,
    end_on_sigterm,
    names_among,
    paired_rounds,
    run_process,
    run_to_end,
)
from experiments.report import fill, markdown, median_ratio, read_results, write_results
from layup_jax.errors import LayupError

ROOT = Path(__file__).parents[2]
EXPERIMENTS = ("step_overhead", "throughput", "data_waiting")


def run(*words):
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)


def test_every_round_measures_everything_once_with_its_seed_in_an_order_that_the_seed_decides():
    def order(seed):
        calls = []

        def measure(name, seed_of_round):
            calls.append(name)
            return seed_of_round

        measures = {name: partial(measure, name) for name in "abc"}
        values = paired_rounds(measures, rounds=4, seed=seed)
        assert values == {name: list(range(seed, seed + 4)) for name in "abc"}
        rounds = [tuple(calls[start : start + 3]) for start in range(0, 12, 3)]
        assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
        return rounds

    assert order(0) == order(0)
    assert len({each for seed in range(5) for each in order(seed)}) > 1


def test_a_ratio_is_taken_within_rounds():
    assert median_ratio([2.0, 40.0, 9.0], [1.0, 10.0, 3.0]) == 3.0


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_bad_folder_is_one_sentence(name, tmp_path):
    (tmp_path / "file").touch()
    done = run(f"experiments.{name}", "--out", str(tmp_path / "file"), "--smoke")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "--out must be a folder that can be written" in done.stderr


@pytest.mark.parametrize(
    ("name", "words", "sentence"),
    [
        ("step_overhead", ("--cases", "mpl"), "unknown case 'mpl'"),
        ("step_overhead", ("--rounds", "0"), "must be above 0, got 0"),
        ("throughput", ("--workers", "1"), "--workers must be at least 2, got 1"),
        ("throughput", ("--worker", "3"), "unrecognized arguments: --worker"),
    ],
)
def test_a_bad_argument_is_one_sentence(name, words, sentence, tmp_path):
    out = tmp_path / "out"
    done = run(f"experiments.{name}", f"--out={out}", *words)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert sentence in done.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("word", "sentence"),
    [("--bogus", "unrecognized arguments: --bogus"), ("--smoke", "--out must name a folder")],
)
def test_without_a_folder_an_unknown_option_is_named_first(word, sentence):
    done = run("experiments.throughput", word)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert sentence in done.stderr


def test_an_empty_folder_of_the_user_stays(tmp_path):
    done = run("experiments.throughput", f"--out={tmp_path}", "--workers=1")
    assert done.returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_a_failing_process_is_named_with_its_last_words(capsys):
    with pytest.raises(ExperimentError, match="the run ended with status 1: ZeroDivisionError"):
        run_process([sys.executable, "-c", "1 / 0"], what="the run", timeout_seconds=60)
    assert capsys.readouterr().err == ""


def test_all_words_of_a_process_that_crashes_are_passed_on(capsys):
    code = r"import os, sys; sys.stderr.write('the cause\nFATAL\n'); sys.stderr.flush(); os.abort()"
    with pytest.raises(ExperimentError, match="the run ended with status -6: FATAL"):
        run_process([sys.executable, "-c", code], what="the run", timeout_seconds=60)
    assert capsys.readouterr().err == "the cause\nFATAL\n"


def test_a_process_that_takes_too_long_is_gone(tmp_path):
    write = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))"
    code = f"import os, time; {write}; time.sleep(99)"
    start = time.monotonic()
    with pytest.raises(ExperimentError, match="the run must end within 2 s"):
        run_process([sys.executable, "-c", code], what="the run", timeout_seconds=2)
    assert time.monotonic() - start < 20
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_results_come_back_as_they_were(tmp_path):
    write_results(tmp_path, {"mlp": {"rounds": [1.5, 2.0]}})
    assert read_results(tmp_path) == {"mlp": {"rounds": [1.5, 2.0]}}
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
    with pytest.raises(LayupError, match=r"must hold a results\.json"):
        read_results(tmp_path / "elsewhere")


def test_a_readme_is_filled_between_its_markers(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("a\n<!-- results: begin -->\nold\n<!-- results: end -->\nb\n")
    for text in ("new \\1", "newer"):
        fill(readme, text)
        expected = f"a\n<!-- results: begin -->\n{text}\n<!-- results: end -->\nb\n"
        assert readme.read_text() == expected
    readme.write_text("no markers")
    with pytest.raises(LayupError, match="one pair of markers"):
        fill(readme, "new")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_readme_can_be_filled(name, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text((ROOT / "experiments" / name / "README.md").read_text())
    fill(readme, markdown(("a", "b"), [("x", "1")]))
    assert "| a | b |\n| --- | ---: |\n| x | 1 |" in readme.read_text()


def test_names_are_checked():
    parse = names_among(("a", "b"))
    assert (parse("b,a"), parse("none")) == (("b", "a"), ())
    with pytest.raises(argparse.ArgumentTypeError, match="must be among a, b, got 'c'"):
        parse("a,c")


class _Interrupted(subprocess.Popen):
    """A signal comes before whoever starts the process knows it."""

    started: ClassVar[list[subprocess.Popen]] = []

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.started.append(self)
        signal.raise_signal(signal.SIGTERM)


def test_a_signal_while_a_process_is_started_leaves_none(monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(subprocess, "Popen", _Interrupted)
    end_on_sigterm()
    try:
        with pytest.raises(SystemExit) as caught:
            run_to_end([sys.executable, "-c", "import time; time.sleep(60)"])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught.value.code == 143
    (process,) = _Interrupted.started
    assert process.returncode is not None
