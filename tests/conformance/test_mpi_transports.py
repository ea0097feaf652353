"""The MPI transports keep the contract of a transport: the same checks, started with mpirun."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import run_transport_suite

ROOT = Path(__file__).parents[2]
PROGRAM = Path(run_transport_suite.__file__)
PLANES = ("host", "mpi4jax")
TIMEOUT_SECONDS = 100


def _mpirun(size, *arguments):
    """Runs the program on `size` ranks: (status, output); ends all of them if it takes too long."""
    environment = os.environ | {
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
    }
    mpirun = [Path(sys.executable).parent / "mpirun", "--timeout", str(TIMEOUT_SECONDS - 10)]
    process = subprocess.Popen(
        [*mpirun, "--oversubscribe", "-n", str(size), sys.executable, PROGRAM, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        pytest.fail(f"not done after {TIMEOUT_SECONDS} s:\n{output}")
    return process.returncode, output


@pytest.mark.mpi
@pytest.mark.parametrize("size", [2, pytest.param(3, marks=pytest.mark.slow), 4])
def test_contract(size):
    _require_all_passed(size, *PLANES)


@pytest.mark.mpi
@pytest.mark.slow
def test_contract_behind_slow_links():
    _require_all_passed(3, "slow")


def _require_all_passed(size, *planes):
    status, output = _mpirun(size, *planes)
    assert status == 0, output
    passed = [line for line in output.splitlines() if line.startswith("passed ")]
    expected = [
        f"passed {plane} {name}"
        for plane in planes
        for name, _ in run_transport_suite.checks(plane)
    ]
    assert passed == expected, output
