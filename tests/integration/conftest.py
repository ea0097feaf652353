"""Real runs: the `layup` command and mpirun as a user starts them, on the digits data."""

import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import NamedTuple

import pytest
from processes import processes_with

from layup_jax.errors import TransportError
from layup_jax.virtual_host import check_possible

ROOT = Path(__file__).parents[2]
MPIRUN = Path(sys.executable).parent / "mpirun"
SHORT = (
    "--config.stop.steps=12",
    "--config.evaluation.every_steps=6",
    "--config.log_every_steps=3",
    "--config.partition=3",
)


def _can_make_hosts() -> bool:
    try:
        check_possible()
    except TransportError:
        return False
    return True


collect_ignore = [] if _can_make_hosts() else ["test_virtual_hosts.py"]


class Result(NamedTuple):
    """A command that has ended."""

    status: int
    output: str
    errors: str


class Started:
    """A running command; `finish` collects it and proves that nothing of it is left."""

    def __init__(self, command: list[str], environment: dict[str, str], mark: str):
        self.mark = mark
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment | {"LAYUP_TEST_MARK": mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def finish(self, seconds: float = 100) -> Result:
        """Waits for the end."""
        try:
            output, errors = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            output, errors = self.process.communicate()
            pytest.fail(f"did not end within {seconds} s: {output}\n{errors}")
        left = processes_with(self.mark)
        assert not left, f"processes left running: {left}"
        return Result(self.process.returncode, output, errors)


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """Variables of all commands; they share what they compile, also with tests run at the same time."""
    root = os.geteuid() == 0
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    return os.environ | {
        "TFDS_DATA_DIR": str(tmp_path_factory.mktemp("tfds")),
        "JAX_COMPILATION_CACHE_DIR": str(shared / "compiled-by-commands"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        **({"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"} if root else {}),
    }


@pytest.fixture
def start(environment, tmp_path):
    """Starts `layup train` on FILE or FILE:NAME of configs/, below mpirun if `ranks` says so."""

    def run(*arguments, config="digits_layup", ranks=None, short=True):
        command = [sys.executable, "-m", "layup_jax.cli", "train"]
        if ranks is not None:
            command = [str(MPIRUN), "-n", str(ranks), "--oversubscribe", *command]
        file, *name = config.split(":")
        place = ":".join([f"configs/{file}.py", *name])
        command += [f"--config={place}", f"--config.output={tmp_path}"]
        command += [*(SHORT if short else ()), *arguments]
        return Started(command, environment, uuid.uuid4().hex)

    return run


def read_summary(folder: Path, result: Result | None = None) -> dict:
    """summary.json of a run folder; if there is none, what its command said."""
    path = folder / "summary.json"
    assert path.exists(), result
    return json.loads(path.read_text())


def read_lines(folder: Path, rank: int) -> list[dict]:
    """metrics.jsonl of one rank."""
    text = (folder / f"rank{rank}" / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]
