"""The launchers: what they would run, word for word."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MPIRUN, LAYUP = f"{ROOT}/.venv/bin/mpirun", f"{ROOT}/.venv/bin/layup"
ROOT_USER = ["OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"]


def _run(script, *arguments, **environ):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    return subprocess.run(
        [ROOT / "scripts" / script, *arguments],
        env=clean | environ,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def _words(*run, **environ):
    """The words of a dry run as a shell reads them, without what only root needs."""
    done = _run(*run, **environ)
    assert (done.returncode, done.stderr) == (0, "")
    return [word for word in shlex.split(done.stdout) if word not in ROOT_USER]


@pytest.mark.parametrize("script", ["slurm.sh", "tpu_vm.sh"])
@pytest.mark.parametrize("argument", ["-h", "--help"])
def test_help_says_how_to_start(script, argument):
    done = _run(script, argument)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"scripts/{script}" in done.stdout
    assert "--dry-run" in done.stdout
    assert "set -euo" not in done.stdout


@pytest.mark.parametrize(
    ("allocation", "place"),
    [
        (
            {"SLURM_JOB_NUM_NODES": "2", "SLURM_GPUS_ON_NODE": "4"},
            ["-n", "8", "--map-by", "ppr:4:node:oversubscribe"],
        ),
        ({"SLURM_JOB_NUM_NODES": "3"}, ["-n", "3", "--map-by", "ppr:1:node:oversubscribe"]),
        (
            {"SLURM_JOB_NUM_NODES": "2", "SLURM_NTASKS": "5", "SLURM_GPUS_ON_NODE": "4"},
            ["-n", "5", "--map-by", "slot:oversubscribe"],
        ),
    ],
)
def test_slurm_has_a_worker_for_each_gpu_node_or_task(allocation, place):
    words = _words("slurm.sh", "--dry-run", "--config=a b.py", SLURM_JOB_ID="7", **allocation)
    command = [MPIRUN, *place, "--bind-to", "none", "--wdir", str(ROOT), LAYUP, "train"]
    assert words == ["env", "SLURM_EXPORT_ENV=ALL", *command, "--config=a b.py"]


def test_slurm_runs_from_where_the_job_was_submitted(tmp_path):
    wrong = _run("slurm.sh", SLURM_JOB_ID="7", SLURM_SUBMIT_DIR=str(tmp_path))
    assert wrong.returncode == 2
    assert f"from the root of the repository, got {tmp_path}; cd there" in wrong.stderr
    outside = _run("slurm.sh", "--config=x")
    assert (outside.returncode, outside.stdout) == (2, "")
    assert outside.stderr.startswith(
        "layup: this needs a SLURM allocation, found none; put 'sbatch"
    )


def test_each_tpu_host_is_a_system_of_its_own():
    words = _words("tpu_vm.sh", "--dry-run", "--config=x", HOSTS="10.0.0.2,10.0.0.3", CHIPS="4")
    assert words[:5] == [MPIRUN, "--host", "10.0.0.2,10.0.0.3", "-n", "2"]
    exported = {words[index + 1] for index, word in enumerate(words) if word == "-x"}
    assert exported == {
        "TPU_PROCESS_BOUNDS=1,1,1",
        "TPU_CHIPS_PER_PROCESS_BOUNDS=2,2,1",
        "TPU_VISIBLE_CHIPS=0,1,2,3",
        "TPU_PROCESS_ADDRESSES=localhost:8476",
        "TPU_PROCESS_PORT=8476",
        "TPU_WORKER_ID=0",
        "TPU_WORKER_HOSTNAMES=localhost",
        "CLOUD_TPU_TASK_ID=0",
        "JAX_PLATFORMS=tpu,cpu",
    }
    assert words[-5:] == [
        LAYUP,
        "train",
        "--config.local_devices=4",
        "--config.transport.data_plane=host",
        "--config=x",
    ]
    wrong = _run("tpu_vm.sh", HOSTS="a", CHIPS="3")
    assert wrong.returncode == 2
    assert "a host must have 1, 4 or 8 chips, found 3" in wrong.stderr
    for hosts in (",", "a, b", "a b"):
        wrong = _run("tpu_vm.sh", HOSTS=hosts, CHIPS="4")
        assert wrong.returncode == 2
        assert f"hosts must be ADDRESS,ADDRESS, got '{hosts}'; correct HOSTS" in wrong.stderr
