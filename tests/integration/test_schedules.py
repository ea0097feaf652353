"""Threads within real workers: recorded and replayed, interrupted, killed, warned of and refused."""

import os
import signal
import subprocess
import sys

import pytest

from tests.integration.conftest import ROOT, read_lines, read_summary

pytestmark = pytest.mark.mpi


def _replay(environment, folder, *options):
    return subprocess.run(
        [sys.executable, "-m", "layup_jax.cli", "replay", str(folder), *options],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_a_recorded_worker_is_replayed_to_the_last_bit(start, environment, tmp_path):
    result = start(
        "--workers=2", "--config.name=run", "--config.record=True", config="digits:pd_asgd"
    ).finish()
    assert result.status == 0, result.errors
    for rank in range(2):
        done = _replay(environment, tmp_path / "run", f"--rank={rank}")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"rank {rank}: 12 steps, ")
        assert done.stdout.endswith("parameters equal to the last bit\n")


def test_a_replay_that_cannot_be_is_one_sentence(start, environment, tmp_path):
    result = start("--config.name=run", config="digits:pd_asgd").finish()
    assert result.status == 0, result.errors
    for folder, options, sentence in (
        (tmp_path / "none", (), "must be a run folder"),
        (tmp_path / "run", (), "run again with --config.record=True"),
        (tmp_path / "run", ("--rank=7",), "got 7; use one of: 0"),
    ):
        done = _replay(environment, folder, *options)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("layup: ")
        assert done.stderr.count("\n") == 1
        assert sentence in done.stderr


@pytest.mark.parametrize(
    ("config", "after"),
    [("digits:pd_asgd", 0.0), ("digits:lpp_sgd", 0.3), ("digits:pd_asgd", 1.0)],
)
def test_an_interrupt_at_any_moment_leaves_a_complete_run(start, tmp_path, config, after):
    running = start(
        "--workers=2",
        "--config.name=run",
        "--config.stop.steps=1000000",
        "--config.evaluation.every_steps=7",
        config=config,
    )
    line = ""
    while not line.startswith("step "):
        line = running.process.stdout.readline()
        assert line, running.finish().errors
    running.process.send_signal(signal.SIGINT) if not after else _later(running, after)
    result = running.finish()
    assert result.status == 130, result.errors
    summary = read_summary(tmp_path / "run", result)
    assert summary["status"] == "interrupted"
    assert (tmp_path / "run" / "figure.png").exists()
    for rank in range(2):
        assert read_lines(tmp_path / "run", rank)[-1]["kind"] == "evaluation"


def _later(running, seconds):
    """So much training later, as the run itself counts it."""
    while True:
        line = running.process.stdout.readline()
        assert line, running.finish().errors
        words = line.split()
        if words[:1] == ["step"] and float(words[2]) >= seconds:
            os.kill(running.process.pid, signal.SIGINT)
            return


def test_more_threads_than_cores_are_warned_of_and_run(start, tmp_path):
    result = start(
        "--config.name=run", "--config.threads.ratio=40:40", config="digits:pd_asgd"
    ).finish()
    assert result.status == 0, result.errors
    assert "warning: 80 threads on " in result.output
    assert read_summary(tmp_path / "run")["schedule"].startswith("decoupled 40:40, queue 40")


def test_ratio_auto_is_explained_in_the_output_and_in_the_metrics(start, tmp_path):
    result = start(
        "--config.name=run", "--config.threads.ratio=auto", config="digits:pd_asgd"
    ).finish()
    assert result.status == 0, result.errors
    notes = [line["text"] for line in read_lines(tmp_path / "run", 0) if line["kind"] == "note"]
    assert notes[0].startswith("decoupled ")
    assert notes[0] in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--config.threads.ratio=0:2",), "config.threads.ratio must be auto or numbers"),
        (("--config.threads.shared=9",), "lpp_sgd needs a segment for each of its threads, got 9"),
        (
            ("--config.pipeline=decoupled", "--config.threads.forward_devices=(0,)"),
            "config.threads.forward_devices and .backward_devices go together",
        ),
    ],
)
def test_bad_input_is_one_sentence(start, tmp_path, options, sentence):
    result = start("--workers=2", "--config.name=run", *options, config="digits:lpp_sgd").finish()
    assert result.status == 2
    assert sentence in result.errors
    assert "Traceback" not in result.errors
