"""`layup doctor`: well here, and with a remedy where mpirun is hidden."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from rich.console import Console

from layup_jax import doctor
from layup_jax.doctor import Check

REPOSITORY = Path(__file__).parent.parent


def run(python, *arguments, **changes):
    return subprocess.run(
        [python, "-m", "layup_jax.cli", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "200", **changes},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
    )


@pytest.mark.mpi
def test_this_installation_is_well():
    done = run(sys.executable, "doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "missing" not in done.stdout
    for name in (
        "mpirun",
        "MPI_THREAD_MULTIPLE",
        "data plane mpi4jax",
        "data plane host",
        "virtual hosts",
        "digits",
    ):
        assert name in done.stdout


def test_a_hidden_mpirun_is_missed_with_its_remedy(tmp_path):
    python = tmp_path / "python"  # the same Python, but with nothing beside it
    python.symlink_to(sys.executable)
    changes = {
        "PATH": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), sysconfig.get_path("purelib")]),
        "MPI4PY_LIBMPI": str(Path(sys.prefix) / "lib" / "libmpi.so.40"),
    }
    done = run(str(python), "doctor", **changes)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "MPI: run 'make env', or install Open MPI and mpi4py" in done.stdout
    assert "data plane host: mend MPI first" in done.stdout
    done = run(str(python), "train", "--config=configs/digits_layup.py", "--workers=2", **changes)
    assert done.returncode == 2
    assert done.stderr.startswith("layup: several workers need mpirun, found none in")
    assert len(done.stderr.splitlines()) == 1


def test_only_missing_things_have_a_remedy_line():
    console = Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    doctor.show([Check("a", "3 [x]"), Check("b", "none", "buy one")], console)
    console.file.close()
    text = console.export_text()
    assert "ok       a      3 [x]" in text
    assert "missing  b      none" in text
    assert text.splitlines()[-1].strip() == "b: buy one"
