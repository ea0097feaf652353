"""The MPI or SLURM job that a process was started in, told from its environment alone.

    find_world(os.environ)        # World(rank=1, size=4); None outside of jobs

Loads no MPI.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

_NAMES = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
    ("PMIX_RANK", "PMIX_SIZE"),
)


class World(NamedTuple):
    """A job.

    Attributes:
      rank: of this process.
      size: number of processes.
    """

    rank: int
    size: int


def find_world(environ: Mapping[str, str]) -> World | None:
    """The job that this process is a part of, from what mpirun or srun set.

    Returns:
      None outside of jobs, and in the script of an sbatch job, which srun has not started.
    """
    for rank, size in _NAMES:
        if rank in environ and size in environ:
            world = World(int(environ[rank]), int(environ[size]))
            if not rank.startswith("SLURM") or world.size > 1:
                return world
    return None
