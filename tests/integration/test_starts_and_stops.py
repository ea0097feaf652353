"""Starting and stopping many times in a row: nobody hangs, nothing in flight is lost."""

import random
import sys

import pytest

from tests.integration.conftest import MPIRUN, ROOT, Started

pytestmark = pytest.mark.mpi


@pytest.mark.parametrize(
    "times", [8, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
@pytest.mark.parametrize("mixing", ["push_sum", "pairwise"])
def test_starts_and_stops(environment, times, mixing):
    program = ROOT / "tests" / "integration" / "starts_and_stops.py"
    seed = random.Random(f"{mixing}{times}").randrange(10**6)
    command = [str(MPIRUN), "-n", "4", "--oversubscribe", sys.executable, str(program)]
    running = Started(
        [*command, mixing, str(times), str(seed)],
        environment | {"PYTHONPATH": str(ROOT)},
        f"stops-{mixing}-{times}",
    )
    result = running.finish(1700 if times > 10 else 110)
    assert result.status == 0, result.errors
    assert f"{times} runs ended" in result.output
