"""docs/tutorial.md: its script does what it says, with threads and under mpirun."""

import json
import re
import subprocess
import sys

import pytest

from tests.integration.conftest import MPIRUN, ROOT

SCRIPT = ROOT / "docs" / "own_model.py"
THREADS = [sys.executable, str(SCRIPT)]
PROCESSES = [str(MPIRUN), "-n", "4", "--oversubscribe", sys.executable, str(SCRIPT), "--mpi"]


@pytest.mark.parametrize("command", [THREADS, PROCESSES], ids=["threads", "processes"])
def test_the_script_trains(command, environment, tmp_path):
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    found = re.search(r"accuracy ([01]\.\d+) with 4 workers", done.stdout)
    assert found, done.stdout
    assert float(found[1]) > 0.9
    if "--mpi" in command:
        summary = json.loads((tmp_path / "runs" / "spirals" / "summary.json").read_text())
        assert summary["workers"] == 4
        assert (tmp_path / "runs" / "spirals" / "figure.png").exists()


def test_the_tutorial_names_commands_of_the_script():
    text = (ROOT / "docs" / "tutorial.md").read_text()
    assert ".venv/bin/python docs/own_model.py  " in text
    assert "-n 4 --oversubscribe .venv/bin/python docs/own_model.py --mpi" in text
    lines = [line for line in SCRIPT.read_text().splitlines() if line.strip()]
    assert len(lines) <= 40
