"""What a worker does to its own process before JAX has a backend: cores, GPUs, memory, dispatch.

    place = local_place()                                        # Place(rank=1, size=4)
    report = prepare_host("auto", place.rank, place.size)
    report.cores, report.is_crowded                              # (1,), True

On CPUs "auto" does what was measured to be best: a worker that jumps between cores, maps and unmaps
its buffers at every step and hands each small operation to another thread loses a third of its speed.
Nothing here starts a JAX backend.
"""

from __future__ import annotations

import ctypes
import importlib.util
import math
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_MALLOC = (  # glibc's names in malloc.h: parameter, value
    (-3, 1 << 30),  # M_MMAP_THRESHOLD: above 128 kB each allocation is mapped and unmapped
    (-1, 2**31 - 1),  # M_TRIM_THRESHOLD: never give freed memory back in between
    (-2, 64 << 20),  # M_TOP_PAD: ask for memory in large pieces
    (-8, 1),  # M_ARENA_MAX: else no thread uses what another has freed, and heaps keep growing
)
_PR_SET_PDEATHSIG = 1
HOSTS_VARIABLE = "LAYUP_HOSTS"  # the launcher's word to workers: what --hosts was; empty without it
VIRTUAL = "virtual"  # the value of it where all hosts are this machine
_RANK_NAMES = ("OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID")
_SIZE_NAMES = ("OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS")
_GPU_MEMORY = 0.75  # of a GPU's, that JAX takes where it is alone
_GPU_MEMORY_NAMES = ("XLA_PYTHON_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_PREALLOCATE")
_WORLD_NAMES = (("OMPI_COMM_WORLD_RANK",), ("OMPI_COMM_WORLD_SIZE",))


class Place(NamedTuple):
    """Which worker of its machine this is.

    Attributes:
      rank: among the workers of this machine, from 0.
      size: number of workers on this machine.
    """

    rank: int
    size: int


@dataclass(frozen=True)
class HostReport:
    """What was done to this process.

    Attributes:
      platform: cpu | gpu | tpu, as JAX will choose.
      num_cores: that all workers of this machine share.
      num_workers: on this machine.
      cores: this worker is bound to; None where it was left alone.
      malloc_tuned: whether the C library keeps large freed buffers; on CPUs only.
      dispatch: synchronous | asynchronous, of operations on CPUs.
      gpus: that this worker sees, as CUDA_VISIBLE_DEVICES names them; None where it was left alone.
    """

    platform: str
    num_cores: int
    num_workers: int
    cores: tuple[int, ...] | None
    malloc_tuned: bool
    dispatch: str
    gpus: tuple[str, ...] | None = None

    @property
    def is_crowded(self) -> bool:
        """Whether the machine's workers compute on its cores and leave none of them free."""
        return self.platform == "cpu" and self.num_workers >= self.num_cores

    @property
    def cores_per_worker(self) -> float:
        """How much of a core each worker of this machine has, at most 1."""
        return min(1.0, self.num_cores / self.num_workers)


def prepare_host(bind: str, local_rank: int, local_size: int, *, devices: int = 1) -> HostReport:
    """Prepares this process; to be called before any JAX computation.

    Args:
      bind: auto | cores | none. "auto" binds on CPUs where there are several workers and the
        launcher (srun) has not bound them; "cores" binds always, "none" never. Memory and dispatch
        depend on the platform alone.
      local_rank: of this worker on its machine, in [0, local_size).
      local_size: number of workers on this machine.
      devices: that this worker computes on. Of several workers on GPUs each sees its own only: JAX would
        put all of them on the first. Workers that share a GPU share its memory in equal parts, unless
        XLA_PYTHON_CLIENT_MEM_FRACTION or XLA_PYTHON_CLIENT_PREALLOCATE says otherwise.

    Returns:
      What was done; beside that, a compilation cache that the user asked for keeps small programs too.
    """
    platform = jax_platform()
    allowed = allowed_cores()
    cores = None
    if bind == "cores" or (bind == "auto" and platform == "cpu" and local_size > 1):
        cores = (
            None if bind == "auto" and bound_by_slurm() else _bind(allowed, local_rank, local_size)
        )
    gpus = None
    _cache_small_programs()
    if platform == "cpu":
        _dispatch_synchronously()
    elif platform == "gpu" and local_size > 1:
        gpus = _take_gpus(devices, local_rank, local_size)
    return HostReport(
        platform=platform,
        num_cores=len(allowed),
        num_workers=local_size,
        cores=cores,
        malloc_tuned=platform == "cpu" and _tune_malloc(),
        dispatch="synchronous" if platform == "cpu" else "asynchronous",
        gpus=gpus,
    )


def local_place(environ: Mapping[str, str] = os.environ) -> Place:
    """This worker's place on its machine, from what mpirun or srun set; Place(0, 1) without them.

    All workers on virtual hosts are on one machine.
    """
    is_virtual = environ.get(HOSTS_VARIABLE) == VIRTUAL
    ranks, sizes = _WORLD_NAMES if is_virtual else (_RANK_NAMES, _SIZE_NAMES)
    rank = next((int(environ[name]) for name in ranks if name in environ), 0)
    size = next((int(environ[name]) for name in sizes if name in environ), None)
    if size is None:
        size = _slurm_local_size(environ)
    return Place(rank, max(size, rank + 1))


def share_of_cores(allowed: Sequence[int], local_rank: int, local_size: int) -> tuple[int, ...]:
    """The cores of one worker: equal shares, or one core in turn where workers outnumber cores."""
    share = len(allowed) // local_size
    if share == 0:
        return (allowed[local_rank % len(allowed)],)
    return tuple(allowed[local_rank * share : (local_rank + 1) * share])


def share_of_gpus(visible: Sequence[str], devices: int, local_rank: int) -> tuple[str, ...]:
    """So many GPUs for each worker, in turn; all of them where there are fewer than that."""
    start, count = local_rank * devices, min(devices, len(visible))
    return tuple(visible[(start + index) % len(visible)] for index in range(count))


def visible_gpus(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [each.strip() for each in named.split(",") if each.strip()]
    found = [each for each in Path("/dev").glob("nvidia*") if each.name[6:].isdecimal()]
    return [str(index) for index in range(len(found))]  # CUDA counts what it finds


def allowed_cores() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def bound_by_slurm(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether srun has given each task its cores already.

    Under an mpirun that SLURM's srun helped to start, its variables are about mpirun's daemon.
    """
    if "OMPI_COMM_WORLD_RANK" in environ:
        return False
    return environ.get("SLURM_CPU_BIND_TYPE", "none").rstrip(":") not in ("", "none")


def jax_platform(environ: Mapping[str, str] = os.environ) -> str:
    """The platform that JAX will choose: cpu | gpu | tpu. Starts no backend."""
    wanted = environ.get("JAX_PLATFORMS", "").split(",")[0].strip().lower()
    if wanted:
        return "gpu" if wanted in ("cuda", "rocm") else wanted
    if _has_nvidia_device(environ) and _has_cuda_plugin():
        return "gpu"
    if _has_tpu() and importlib.util.find_spec("libtpu"):
        return "tpu"
    return "cpu"


def die_with_parent(signal_number: int = signal.SIGTERM) -> bool:
    """Asks Linux to signal this process when the process that started it dies.

    Returns:
      Whether that was possible; elsewhere nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    return ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0) == 0


def _bind(allowed: Sequence[int], local_rank: int, local_size: int) -> tuple[int, ...] | None:
    if not hasattr(os, "sched_setaffinity"):
        return None
    cores = share_of_cores(allowed, local_rank, local_size)
    os.sched_setaffinity(0, cores)
    return cores


def _take_gpus(devices: int, local_rank: int, local_size: int) -> tuple[str, ...] | None:
    visible = visible_gpus()
    if not visible:  # under WSL they have no device files
        return None
    gpus = share_of_gpus(visible, devices, local_rank)
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    workers = math.ceil(local_size * len(gpus) / len(visible))
    if workers > 1 and not any(name in os.environ for name in _GPU_MEMORY_NAMES):
        os.environ[_GPU_MEMORY_NAMES[0]] = f"{_GPU_MEMORY / workers:.3f}"
    return gpus


def _tune_malloc() -> bool:
    """Of glibc only: measured to make a layer-wise step of 20 ms about a tenth faster.

    Not where an accelerator computes: the step does not depend on it, and its compiler has many threads
    that would share the one arena (not measured).
    """
    if not sys.platform.startswith("linux") or not os.confstr("CS_GNU_LIBC_VERSION"):
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all([mallopt(parameter, value) == 1 for parameter, value in _MALLOC])


def _dispatch_synchronously() -> None:
    """The hand-off to XLA's own thread costs more than a small operation itself."""
    import jax

    jax.config.update("jax_cpu_enable_async_dispatch", False)


def _cache_small_programs() -> None:
    """In a compilation cache that the user asked for: by default JAX keeps none of less than a second."""
    import jax

    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def _slurm_local_size(environ: Mapping[str, str]) -> int:
    """Of "4(x2),1", the tasks of each node of a step, the entry of this node."""
    sizes: list[int] = []
    for entry in environ.get("SLURM_STEP_TASKS_PER_NODE", "").split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", entry)
        if match:
            sizes += [int(match[1])] * int(match[2] or 1)
    node = int(environ.get("SLURM_NODEID", "0"))
    return sizes[node] if node < len(sizes) else 1


def _has_nvidia_device(environ: Mapping[str, str]) -> bool:
    hidden = environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1")
    return not hidden and any(Path(name).exists() for name in ("/dev/nvidiactl", "/dev/dxg"))


def _has_cuda_plugin() -> bool:
    spec = importlib.util.find_spec("jax_plugins")
    folders = (spec.submodule_search_locations or ()) if spec else ()
    return any(
        each.name.startswith("xla_cuda") for folder in folders for each in Path(folder).iterdir()
    )


def _has_tpu() -> bool:
    return Path("/dev/accel0").exists() or Path("/dev/vfio/0").exists()
