"""Loading MPI: a process that no launcher started leaves no shared memory behind."""

import os
import subprocess
import sys

import pytest

from layup_jax.world import find_world

_LOAD = "from layup_jax.transport.library import MPI; "
_ASK = "import os; print(MPI.COMM_WORLD.Get_size(), os.environ.get('OMPI_MCA_btl'))"


def _python(code, folder, **more):
    environ = {**os.environ, "OMPI_MCA_btl_sm_backing_directory": str(folder), **more}
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=60, check=True
    ).stdout.strip()


@pytest.mark.skipif(find_world(os.environ) is not None, reason="this process is in a job")
def test_a_process_alone_leaves_no_segment_and_its_children_are_told_nothing(tmp_path):
    assert _python(_LOAD + _ASK, tmp_path) == "1 None"
    assert not list(tmp_path.iterdir())


def test_a_choice_of_the_users_own_is_kept(tmp_path):
    assert _python(_LOAD + _ASK, tmp_path, OMPI_MCA_btl="sm,self") == "1 sm,self"
