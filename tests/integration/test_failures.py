"""What goes wrong under mpirun: one sentence, exit status 2, the run folder kept, nobody left behind."""

import os
import re
import signal
from pathlib import Path

import pytest
from processes import processes_with

from layup_jax.testing.endpoints import wait_until
from tests.integration.conftest import read_lines, read_summary

pytestmark = pytest.mark.mpi


def sentences(errors):
    return [line for line in errors.splitlines() if line.startswith("layup: ")]


@pytest.mark.parametrize("ranks", [None, 2])
def test_non_finite_loss_names_step_and_segment_and_stops_all(start, tmp_path, ranks):
    options = ["--config.name=nan", "--config.optimizer.learning_rate=1e30"]
    options += ["--workers=2"] if ranks is None else []
    result = start(*options, ranks=ranks).finish()

    assert result.status == 2
    (sentence,) = set(sentences(result.errors))
    assert "at step" in sentence
    assert "segment" in sentence
    assert "Traceback" not in result.errors
    summary = read_summary(tmp_path / "nan")
    assert summary["status"] == "failed"
    assert "at step" in summary["failure"]


def test_an_existing_run_folder_is_kept_unless_told_otherwise(start, tmp_path):
    first = ["--workers=1", "--config.name=twice"]
    assert start(*first).finish().status == 0
    before = (tmp_path / "twice" / "summary.json").read_bytes()

    refused = start(*first).finish()
    assert refused.status == 2
    assert len(sentences(refused.errors)) == 1
    assert "--overwrite" in refused.errors
    assert (tmp_path / "twice" / "summary.json").read_bytes() == before
    assert start(*first, "--overwrite").finish().status == 0


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--workers=0"], "workers"),
        (["--workers=2000"], "sample"),
        (["--config.partition=99"], "segments"),
        (["--config.data.name=digit"], "digits"),
        (["--config.strategy.mixng=pairwise"], "mixing"),
        (["--config.batch_size=many"], "batch_size"),
        (["--config.model.name=convolution"], "conv"),
        (["--config.model.options.chanels=3"], "channels"),
    ],
)
def test_bad_input_is_one_sentence(start, tmp_path, options, part):
    workers = [] if options[0].startswith("--workers") else ["--workers=2"]
    short = not options[0].startswith("--config.partition")
    result = start(*workers, "--config.name=bad", *options, short=short).finish()

    assert result.status == 2, result.errors
    (sentence,) = sentences(result.errors)
    assert part in sentence
    assert "Traceback" not in result.errors
    assert not (tmp_path / "bad").exists()


def test_too_low_a_thread_level_is_refused(start, environment):
    environment["MPI4PY_RC_THREAD_LEVEL"] = "funneled"
    try:
        result = start("--config.name=level", "--workers=2").finish()
    finally:
        del environment["MPI4PY_RC_THREAD_LEVEL"]
    assert result.status == 2
    assert "MPI_THREAD_FUNNELED" in result.errors
    assert "MPI_THREAD_MULTIPLE" in result.errors


def wait_for_training(folder, workers):
    """Until every worker has written a line of metrics."""
    paths = [folder / f"rank{rank}" / "metrics.jsonl" for rank in range(workers)]
    wait_until(
        lambda: all(path.exists() and path.stat().st_size for path in paths),
        "the first line of metrics of every worker",
        seconds=90,
    )


LONG = ("--workers=2", "--config.stop.steps=1000000", "--config.evaluation.every_steps=0")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_complete(start, tmp_path, number):
    running = start("--config.name=stopped", *LONG)
    wait_for_training(tmp_path / "stopped", 2)
    os.kill(running.process.pid, number)
    result = running.finish()

    summary = read_summary(tmp_path / "stopped", result)
    assert summary["status"] == "interrupted", result.errors
    assert summary["steps_total"] > 0
    assert "Traceback" not in result.errors


def test_killing_the_launcher_leaves_nobody(start, tmp_path):
    running = start("--config.name=orphan", *LONG)
    wait_for_training(tmp_path / "orphan", 2)
    os.kill(running.process.pid, signal.SIGKILL)
    running.process.communicate(timeout=60)
    wait_until(
        lambda: not processes_with(running.mark), "workers to end with their launcher", seconds=30
    )


def test_killing_a_rank_ends_the_others(start, tmp_path):
    running = start("--config.name=killed", *LONG)
    wait_for_training(tmp_path / "killed", 2)
    (victim,) = [pid for pid in processes_with(running.mark) if rank_of(pid) == 1]
    os.kill(victim, signal.SIGKILL)
    result = running.finish()

    assert result.status != 0
    assert all(line["kind"] for rank in range(2) for line in read_lines(tmp_path / "killed", rank))


def rank_of(pid):
    """OMPI rank of a process; None for the others."""
    found = re.search(rb"\0OMPI_COMM_WORLD_RANK=(\d+)", Path(f"/proc/{pid}/environ").read_bytes())
    return None if found is None else int(found[1])
