"""Workers with four devices each, as processes: they end where workers with one device do."""

import json
import sys

import pytest

from tests.integration.conftest import MPIRUN, ROOT, Started

pytestmark = pytest.mark.mpi


def test_four_devices_for_each_of_two_workers(environment, tmp_path):
    program = ROOT / "tests" / "integration" / "local_devices.py"
    command = [str(MPIRUN), "-n", "2", "--oversubscribe", sys.executable, str(program)]
    four = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "PYTHONPATH": str(ROOT)}
    running = Started([*command, str(tmp_path)], environment | four, "local-devices")
    result = running.finish(110)

    assert result.status == 0, result.errors
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["devices"] == 4
    assert found["largest"] > 0.1
    # Twelve steps whose sums over 32 samples are taken in another order, in float32.
    assert found["difference"] < 1e-5
    assert found["accuracies"][0] == pytest.approx(found["accuracies"][1], abs=0.01)
    # One copy of each segment travels, as with one device: weights and biases of 64 x 32 and 32 x 10,
    # and the count of those who contribute.
    assert found["sent_bytes"][0] == found["sent_bytes"][1]
    assert found["message_bytes"] == [4 * 331, 4 * 2081]
    assert found["replayed_steps"] == 12


def test_devices_that_cannot_be_had_are_one_sentence(start, tmp_path):
    """Before anything else is done: the folder of the run is not made."""
    result = start("--config.name=many", "--config.local_devices=4").finish()
    assert result.status == 2
    said = [line for line in result.errors.splitlines() if line.startswith("layup: ")]
    assert len(said) == 1, result.errors
    assert "1 worker with config.local_devices 4 must have 4 devices" in said[0]
    assert not (tmp_path / "many").exists()
