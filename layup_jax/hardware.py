"""What a worker computes on: cores or devices, each with a name of its own among all machines of a run.

    mine = own_hardware(jax.local_devices()[:1], "float32")
    mine.units, mine.unit_flops_per_second          # ("9f0c.../core 0", "9f0c.../core 1"), 1.0e11
    occupied_flops_per_second(everybodys)           # what several workers share counts once

The peak of an accelerator is looked up (`peaks`), that of a core is measured. Names serve to tell units
apart and are written nowhere.
"""

from __future__ import annotations

import functools
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from layup_jax.host import allowed_cores
from layup_jax.peaks import accelerator_peak

_SIZE = 512  # of a matrix: all three fit into a core's own cache
_PRODUCTS = 12
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Hardware(NamedTuple):
    """What one worker computes on.

    Attributes:
      units: names of cores or devices; the same for workers that share them.
      unit_flops_per_second: most of one unit; None if it is not known.
    """

    units: tuple[str, ...]
    unit_flops_per_second: float | None


def own_hardware(devices: Sequence[Any], dtype: str) -> Hardware:
    """That of a worker of this process.

    Args:
      devices: of JAX, on which it computes; those of a CPU stand for all cores that the process may use.
      dtype: bfloat16 | float32, in which it computes.
    """
    if devices[0].platform == "cpu":
        names = tuple(f"{_machine()}/core {core}" for core in allowed_cores())
        return Hardware(names, core_peak(dtype))
    names = tuple(f"{_machine()}/{_device_name(each.local_hardware_id)}" for each in devices)
    return Hardware(names, accelerator_peak(devices[0].device_kind, dtype))


def occupied_flops_per_second(workers: Sequence[Hardware]) -> float | None:
    """Most that everything the workers compute on can do; None if that is not known of any unit."""
    peaks: dict[str, float] = {}
    for each in workers:
        if each.unit_flops_per_second is None:
            return None
        peaks |= dict.fromkeys(each.units, each.unit_flops_per_second)
    return sum(peaks.values())


@functools.cache
def core_peak(dtype: str) -> float:
    """FLOP/s of one core of this process: the fastest of some products of two matrices.

    Taken over the processor time of all threads, so that it is right on one core or several, and while
    other processes want the same cores. Costs a tenth of a second, once in a process.
    """
    import jax
    import jax.numpy as jnp

    matrix = jnp.full((_SIZE, _SIZE), 1.0 / _SIZE, dtype)
    product = jax.jit(lambda a: a @ a)
    jax.block_until_ready(product(matrix))
    fastest = float("inf")
    for _ in range(_PRODUCTS):
        start = time.process_time()
        jax.block_until_ready(product(matrix))
        fastest = min(fastest, time.process_time() - start)
    return 2 * _SIZE**3 / fastest


@functools.cache
def _machine() -> str:
    """The same for all processes of a machine, containers and network namespaces included."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return f"{uuid.getnode():x}"


def _device_name(local: int, environ: Mapping[str, str] = os.environ) -> str:
    """Of a device that this process counts as number `local`.

    Where Slurm gives each task devices of its own, all tasks may call theirs 0.
    """
    shown = [each for each in environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if each]
    name = shown[local] if local < len(shown) else str(local)
    alone = "SLURM_GPUS_PER_TASK" in environ
    return f"device {name} of task {environ.get('SLURM_PROCID')}" if alone else f"device {name}"
