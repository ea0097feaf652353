"""`layup doctor`: whether this installation can train, found out by trying.

    checks = examine()                     # tuple[Check, ...]; starts processes, 10 s
    show(checks, Console())                # the table, then a remedy for each missing thing

A data plane counts as working when two processes, started with mpirun, have swapped a vector on it
and found the right numbers. This process imports neither MPI nor JAX: MPI leaves marks in the
environment that confuse a later mpirun.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from layup_jax import launch, virtual_host
from layup_jax.errors import TransportError
from layup_jax.host import allowed_cores, die_with_parent, prepare_host, share_of_cores
from layup_jax.launch import Mpirun, mpirun_command, mpirun_environment

_PACKAGES = ("jax", "flax", "optax", "mpi4py", "mpi4jax", "tensorflow-datasets", "grain")
_DATA_MODULES = ("tensorflow_datasets", "array_record", "grain", "sklearn")
_PLANES = ("mpi4jax", "host")
_SECONDS = 60
_WORKERS = 4  # for which the report says who gets which cores
_REINSTALL = "run 'make env' again"
_ENDED_WELL = "layup-echo-well"


class Check(NamedTuple):
    """One thing that was looked at.

    Attributes:
      name: of the thing.
      found: what there is, in words.
      remedy: what to do about it; None if nothing needs to be done.
    """

    name: str
    found: str
    remedy: str | None = None


class Facts(NamedTuple):
    """What a process that has loaded MPI and JAX knows.

    Attributes:
      library: vendor and version of the MPI library.
      thread_level: that it gives.
      mpi4jax: version, and whether its CUDA part is built; or why it cannot be imported.
      has_mpi4jax: whether it can be imported.
      devices: of JAX.
      host: what a worker on this machine would do to its process.
    """

    library: str
    thread_level: str
    mpi4jax: str
    has_mpi4jax: bool
    devices: str
    host: str


def examine() -> tuple[Check, ...]:
    """Looks at everything; processes that hang are given up after a minute."""
    checks = [_python(), *map(_package, _PACKAGES)]
    mpirun: Mpirun | None = None
    try:
        mpirun = launch.find_mpirun()
        checks.append(Check("mpirun", f"{mpirun.description}, {mpirun.path}"))
        launch.check_pair(mpirun, launch.mpi_library())
    except TransportError as error:
        checks.append(_missing("MPI", str(error)))
    checks += _facts()
    if mpirun is not None:
        checks.append(_fault_tolerance(mpirun))
        checks += [_plane(mpirun, name) for name in _PLANES]
    else:
        checks += [Check(f"data plane {name}", "not tried", "mend MPI first") for name in _PLANES]
    return (*checks, _virtual_hosts(), _digits())


def show(checks: Sequence[Check], console: Console) -> None:
    """Prints the table and the remedies."""
    table = Table(title="layup doctor", title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    table.add_column("check", no_wrap=True)
    table.add_column("found", overflow="fold")
    for check in checks:
        sign = "[green]ok[/]" if check.remedy is None else "[bold red]missing[/]"
        table.add_row(sign, check.name, check.found.replace("[", r"\["))
    console.print(table)
    for check in checks:
        if check.remedy is not None:
            console.print(f"{check.name}: {check.remedy}", markup=False, soft_wrap=True)


def main(argv: Sequence[str]) -> int:
    """The command; with --facts or --echo PLANE what the processes that it starts do."""
    if argv[:1] == ["--facts"]:
        sys.stdout.write(json.dumps(_gather_facts()._asdict()) + "\n")
        return 0
    if argv[:1] == ["--echo"]:
        _echo(argv[1])
        return 0
    checks = examine()
    show(checks, Console())
    return int(any(check.remedy is not None for check in checks))


def _python() -> Check:
    remedy = None if sys.version_info >= (3, 11) else "install Python 3.11 or newer"
    return Check("Python", f"{platform.python_version()}, {sys.executable}", remedy)


def _package(name: str) -> Check:
    try:
        return Check(name, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Check(name, "not installed", _REINSTALL)


def _facts() -> list[Check]:
    """What another process finds out about MPI, mpi4jax and JAX."""
    done = _run([sys.executable, "-m", "layup_jax.doctor", "--facts"])
    if done.returncode:
        return [_missing("MPI and JAX in a process", _reason(done), _REINSTALL)]
    facts = Facts(**json.loads(done.stdout.splitlines()[-1]))
    is_enough = facts.thread_level == "MPI_THREAD_MULTIPLE"
    thread_remedy = "unset MPI4PY_RC_THREAD_LEVEL and use an MPI built with threads"
    return [
        Check("MPI library", facts.library),
        Check("MPI threads", facts.thread_level, None if is_enough else thread_remedy),
        Check("mpi4jax build", facts.mpi4jax, None if facts.has_mpi4jax else _REINSTALL),
        Check("JAX devices", facts.devices),
        Check("workers here", facts.host),
    ]


def _fault_tolerance(mpirun: Mpirun) -> Check:
    """Whether survivors of a killed worker could go on; nothing needs it yet, so never missing."""
    ask = "from mpi4py import MPI; world = MPI.COMM_WORLD.Dup(); world.Agree(1); world.Shrink()"
    done = _run(
        mpirun_command(mpirun, 2, ["--with-ft", "ulfm", sys.executable, "-c", ask])
        if mpirun.vendor == "Open MPI"
        else [sys.executable, "-c", ask]
    )
    return Check(
        "fault tolerance", "not in this MPI (not needed)" if done.returncode else "ULFM works"
    )


def _virtual_hosts() -> Check:
    """Whether several hosts could be made on this machine; never missing, for few need them."""
    try:
        virtual_host.check_possible()
    except TransportError as error:
        reason = _missing("", str(error)).found
        return Check("virtual hosts", f"not here (seldom needed): {reason}")
    return Check("virtual hosts", "can be made: scripts/virtual_cluster.sh up 4")


def _plane(mpirun: Mpirun, name: str) -> Check:
    """Two processes that really talk."""
    echo = [sys.executable, "-m", "layup_jax.doctor", "--echo", name]
    done = _run(mpirun_command(mpirun, 2, echo))
    if done.returncode == 0 and done.stdout.count(_ENDED_WELL) == 2:
        return Check(f"data plane {name}", "2 processes swapped a vector and sent a push")
    remedy = "use --config.transport.data_plane=host" if name == "mpi4jax" else _REINSTALL
    return _missing(f"data plane {name}", _reason(done), remedy)


def _digits() -> Check:
    missing = [name for name in _DATA_MODULES if importlib.util.find_spec(name) is None]
    folder = Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
    if missing:
        return Check("data set digits", f"no {', '.join(missing)}", _REINSTALL)
    existing = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not os.access(existing, os.W_OK):
        remedy = "set TFDS_DATA_DIR, or pass --data_dir, to a folder that you may write to"
        return Check("data set digits", f"{existing} cannot be written to", remedy)
    state = "prepared" if (folder / "layup_digits").is_dir() else "is prepared at first use"
    return Check("data set digits", f"{state} in {folder}")


def _missing(name: str, sentence: str, remedy: str | None = None) -> Check:
    """Of one of our own sentences the remedy is behind the semicolon."""
    found, _, own = sentence.partition("; ")
    return Check(name, found, remedy or own or _REINSTALL)


def _gather_facts() -> Facts:
    import jax

    from layup_jax.transport.library import MPI
    from layup_jax.transport.mpi import thread_level

    vendor, version = MPI.get_vendor()
    try:
        import mpi4jax

        build = "with CUDA" if mpi4jax.has_cuda_support() else "without CUDA"
        described, is_importable = f"{mpi4jax.__version__} {build}", True
    except (ImportError, RuntimeError) as error:
        described, is_importable = str(error), False
    return Facts(
        library=f"{vendor} {'.'.join(map(str, version))}",
        thread_level=thread_level(),
        mpi4jax=described,
        has_mpi4jax=is_importable,
        devices=", ".join(f"{each.platform} {each.device_kind}" for each in jax.devices()),
        host=_describe_host(),
    )


def _describe_host() -> str:
    report = prepare_host("none", 0, _WORKERS)
    cores = allowed_cores()
    if report.platform == "cpu":
        shares = [share_of_cores(cores, rank, _WORKERS) for rank in range(_WORKERS)]
        binding = f"each of {_WORKERS} bound to " + " | ".join(
            ",".join(map(str, each)) for each in shares
        )
    else:
        binding = "not bound"
    malloc = "keeps" if report.malloc_tuned else "returns"
    return (
        f"{report.platform}, {len(cores)} cores, {binding}; "
        f"{report.dispatch} dispatch; malloc {malloc} large buffers"
    )


def _echo(plane: str) -> None:
    """One of two processes: swaps a vector and sends a push, and compares what comes."""
    import jax.numpy as jnp
    import numpy as np

    from layup_jax.transport.base import Kind
    from layup_jax.transport.mpi import MpiTransport

    transport = MpiTransport(plane)  # type: ignore[arg-type]  # of _PLANES
    peer = 1 - transport.rank
    vectors = [np.arange(1000, dtype=np.float32) + rank for rank in range(2)]
    mine = jnp.array(vectors[transport.rank])
    transport.prepare(mine)
    swapping = transport.swap(peer, 0, mine)
    _wait_for(lambda: swapping.done() or None)
    np.testing.assert_array_equal(swapping.received, vectors[peer])
    body = vectors[transport.rank].view(np.uint8)
    pending = transport.send(peer, Kind.PUSH, 3, body)
    message = _wait_for(transport.poll)
    assert (message.source, message.kind, message.segment) == (peer, Kind.PUSH, 3)
    np.testing.assert_array_equal(message.body.view(np.float32), vectors[peer])
    _wait_for(lambda: pending.done() or None)
    transport.gather(None)
    transport.close()
    sys.stdout.write(_ENDED_WELL + "\n")


def _wait_for(ask: Callable[[], Any]) -> Any:
    """Polls with a pause until there is an answer; whoever started this process limits the time."""
    import time

    while (answer := ask()) is None:
        time.sleep(0.001)
    return answer


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """A command to its end, or status 124 after a minute; nothing of it is left behind."""
    environment = mpirun_environment(os.environ)
    environment["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # two processes may share a GPU
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=die_with_parent,
    )
    try:
        output, errors = process.communicate(timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        process.terminate()  # mpirun ends its processes on this, and not on a kill
        output, errors = process.communicate()
        return subprocess.CompletedProcess(command, 124, output, f"no end within {_SECONDS} s")
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """The line of a failed process's output that says most."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip(" -")]
    if not lines:
        return f"status {done.returncode} without a message"
    named = [line for line in lines if "Error: " in line or line.startswith("layup: ")]
    return named[-1].rpartition("Error: ")[2] if named else lines[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
