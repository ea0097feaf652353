"""reproduce_all: knows every experiment, runs what is asked for, and says what failed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from processes import processes_with

from experiments import reproduce_all
from layup_jax.errors import LayupError
from layup_jax.testing.endpoints import wait_until

ROOT = Path(__file__).parents[2]


@pytest.fixture
def started(monkeypatch):
    """The commands that would have been run; `stragglers` fails."""
    commands = []

    def run_to_end(command):
        commands.append(command)
        return 3 if "experiments.stragglers" in command else 0

    monkeypatch.setattr(reproduce_all, "run_to_end", run_to_end)
    monkeypatch.setattr(reproduce_all, "end_on_sigterm", lambda: None)  # the process is not ours
    return commands


def test_knows_every_experiment():
    assert {"algorithms", "pd_asgd", "slow_network", "stragglers"} <= set(reproduce_all.names())


def test_runs_what_is_asked_for_in_a_folder_that_goes_away(started, capsys):
    assert reproduce_all.main(["--smoke", "--only=algorithms"]) == 0
    ((program, *command),) = started
    assert (program, command[:2], command[-1]) == (
        sys.executable,
        ["-m", "experiments.algorithms"],
        "--smoke",
    )
    assert "results" not in command[2]
    assert capsys.readouterr().out.startswith("algorithms: done after ")


def test_a_failure_does_not_keep_others_from_running(started, capsys):
    assert reproduce_all.main(["--smoke", "--only=stragglers,algorithms"]) == 1
    assert len(started) == 2
    assert "stragglers: failed with status 3" in capsys.readouterr().out


def test_what_the_machine_cannot_do_is_left_out_and_said(started, monkeypatch, capsys):
    def check_possible():
        raise LayupError("virtual hosts need root; use sudo")

    monkeypatch.setitem(reproduce_all._NEEDS, "slow_network", check_possible)
    assert reproduce_all.main(["--smoke", "--only=slow_network,algorithms"]) == 0
    assert len(started) == 1
    said = capsys.readouterr().out
    assert "slow_network: left out: virtual hosts need root; use sudo" in said


def test_an_unknown_experiment_is_refused(started, capsys):
    assert reproduce_all.main(["--only=straglers"]) == 2
    assert started == []
    assert "unknown experiment 'straglers'; did you mean 'stragglers'?" in capsys.readouterr().err


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_ended_by_a_signal_it_leaves_no_process_and_no_folder(tmp_path):
    command = [sys.executable, "-m", "experiments.reproduce_all", "--smoke", "--only=algorithms"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            for line in process.stderr:
                if line.startswith("layup train"):
                    break
            process.terminate()
            process.communicate(timeout=50)
        finally:
            process.kill()
    assert process.returncode == 143
    wait_until(lambda: not processes_with(str(tmp_path)), "all processes to end", seconds=5)
    assert list(tmp_path.iterdir()) == []
