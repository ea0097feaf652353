"""What a user would run instead: the same training with PyTorch, Decent-DP, or JAX alone.

    rivals.available()                                           # ("torch_local", "torch_ddp", ...)
    rivals.measure("torch_ddp", seconds=8.0, straggler=False)    # samples per second

Network, data, batch, optimizer, number of processes and their cores are those of the other methods
of this experiment; `python -m experiments.throughput.rivals.launcher --help` runs one by hand.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import sys
from typing import NamedTuple

from experiments.harness import ExperimentError, run_process

_START_SECONDS = 300.0  # imports, compilation, meeting and parting, on a slow machine
_LAUNCHER = "experiments.throughput.rivals.launcher"


class Rival(NamedTuple):
    """One method.

    Attributes:
      program: module beside this one that each worker runs.
      packages: that it imports and this project does not bring, by what pip calls them.
    """

    program: str
    packages: tuple[str, ...]


RIVALS = {
    "torch_local": Rival("torch_ddp", ("torch",)),
    "torch_ddp": Rival("torch_ddp", ("torch",)),
    "decent_dp": Rival("decent_dp", ("torch", "decent-dp")),
    "jax_distributed": Rival("jax_distributed", ()),
}


def available() -> tuple[str, ...]:
    """The methods whose packages are installed."""
    return tuple(method for method in RIVALS if not _missing(method))


def versions() -> dict[str, str]:
    """Of the packages that they need and that are installed."""
    packages = {name for method in available() for name in RIVALS[method].packages}
    return {name: importlib.metadata.version(name) for name in sorted(packages)}


def measure(method: str, *, seconds: float, straggler: bool, workers: int = 4) -> float:
    """One run; no process of it is left on return.

    Args:
      method: one of `RIVALS`.
      seconds: of training, after the warm-up.
      straggler: whether the last worker sleeps 50 ms before every step.
      workers: processes, at least 2.

    Returns:
      Samples per second of all workers together.

    Raises:
      ExperimentError: it could not start, failed, or did not end.
    """
    _check(method, workers)
    what = f"{method} with {workers} workers{' and a straggler' if straggler else ''}"
    command = [sys.executable, "-m", _LAUNCHER, f"--method={method}", f"--workers={workers}"]
    command += [f"--seconds={seconds}", *(["--straggler"] if straggler else [])]
    timeout = _START_SECONDS + 3 * seconds
    output = run_process(command, what=what, timeout_seconds=timeout)
    return _samples_per_second(output, what)


def _check(method: str, workers: int) -> None:
    if method not in RIVALS:
        names = ", ".join(RIVALS)
        raise ExperimentError(f"method must be one of {names}, got '{method}'; use one of these")
    if missing := _missing(method):
        raise ExperimentError(
            f"method '{method}' needs {' and '.join(RIVALS[method].packages)}, "
            f"found no {' and no '.join(missing)}; run pip install 'layup_jax[rivals]'"
        )
    if workers < 2:
        raise ExperimentError(f"workers must be at least 2, got {workers}; raise it")
    if method == "decent_dp" and workers & (workers - 1):
        raise ExperimentError(
            f"method 'decent_dp' needs a power of two workers, got {workers}; use 2 or 4"
        )


def _missing(method: str) -> list[str]:
    packages = RIVALS[method].packages
    return [name for name in packages if not importlib.util.find_spec(name.replace("-", "_"))]


def _samples_per_second(output: str, what: str) -> float:
    try:
        speed = float(json.loads(output)["samples_per_second"])
    except (ValueError, KeyError, TypeError):
        raise ExperimentError(
            f"{what} must print one line of JSON, got {output[-80:]!r}; run it by hand to see why"
        ) from None
    return speed
