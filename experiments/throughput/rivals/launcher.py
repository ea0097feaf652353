"""Starts the workers of a rival on this machine and ends with them.

    python -m experiments.throughput.rivals.launcher --method=torch_ddp --seconds=3 --straggler

The first worker that fails ends the others; its last line on standard error is what is said of it.
"""

from __future__ import annotations

import argparse
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import IO, TypeAlias

from experiments.throughput.rivals import RIVALS
from experiments.throughput.rivals.task import Task
from layup_jax.host import allowed_cores, die_with_parent, share_of_cores

_DELAY_SECONDS = 0.05
_KEPT_BYTES = 1 << 16
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
    "CUDA_VISIBLE_DEVICES": "",  # Decent-DP takes a GPU where it sees one
}
if sys.platform.startswith("linux"):
    # PyTorch otherwise takes the network interface that the host's name belongs to.
    _ENVIRONMENT["GLOO_SOCKET_IFNAME"] = "lo"


Worker: TypeAlias = subprocess.Popen[bytes]


class WorkerFailedError(Exception):
    """A worker that ended with a status other than 0; its message is that worker's last line."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one method; the exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    options = _parser().parse_args(argv)
    workers: list[Worker] = []
    try:
        port = _free_port()
        for rank in range(options.workers):
            workers.append(_start(_task(options, rank, port)))
        sys.stdout.write(f"{_wait(workers)}\n")
    except WorkerFailedError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        _end(workers)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("experiments.throughput.rivals.launcher", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--method", choices=RIVALS, required=True)
    parser.add_argument("--workers", type=int, default=4, metavar="N")
    parser.add_argument("--seconds", type=float, default=8.0, metavar="S", help="of training")
    parser.add_argument(
        "--straggler", action="store_true", help="the last worker sleeps in every step"
    )
    return parser


def _task(options: argparse.Namespace, rank: int, port: int) -> Task:
    is_delayed = options.straggler and rank == options.workers - 1
    delay_seconds = _DELAY_SECONDS if is_delayed else 0.0
    return Task(options.method, rank, options.workers, port, options.seconds, delay_seconds)


def _start(task: Task) -> Worker:
    program = f"experiments.throughput.rivals.{RIVALS[task.method].program}"
    cores = share_of_cores(allowed_cores(), task.rank, task.workers)

    def prepare() -> None:
        """Ends the worker with the launcher, and binds it as `layup train` binds its own.

        Equal shares of the cores, or one core in turn where workers outnumber cores (four on two
        cores: ranks 0 and 2 on the first, 1 and 3 on the second). Before the program starts, so
        that every pool of threads counts the cores it has. The other things that `prepare_host`
        does (large buffers kept, synchronous dispatch) a rival's user would not have.
        """
        die_with_parent(signal.SIGKILL)  # JAX and PyTorch may have handlers for others
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, cores)

    return subprocess.Popen(
        [sys.executable, "-m", program, *task.arguments()],
        env={**os.environ, **_ENVIRONMENT},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=prepare,  # this process has no other threads
    )


def _wait(workers: Sequence[Worker]) -> str:
    """Until all have ended well; the last line that rank 0 printed (gloo prints some before it).

    Raises:
      WorkerFailedError: as soon as one has not.
    """
    said: dict[int, bytes] = defaultdict(bytes)
    with selectors.DefaultSelector() as selector:
        for rank, worker in enumerate(workers):
            for stream in _streams(worker):
                selector.register(stream, selectors.EVENT_READ, rank)
        while selector.get_map():
            for key, _ in selector.select():
                chunk = os.read(key.fd, _KEPT_BYTES)
                said[key.fd] = (said[key.fd] + chunk)[-_KEPT_BYTES:]
                if chunk:
                    continue
                selector.unregister(key.fd)
                worker = workers[key.data]
                if key.fd == _streams(worker)[1].fileno():
                    _check(key.data, worker.wait(), said[key.fd])
    return _last_line(said[_streams(workers[0])[0].fileno()])


def _streams(worker: Worker) -> tuple[IO[bytes], IO[bytes]]:
    """Its standard output and standard error."""
    assert worker.stdout is not None
    assert worker.stderr is not None
    return worker.stdout, worker.stderr


def _check(rank: int, status: int, said: bytes) -> None:
    if status:
        raise WorkerFailedError(f"worker {rank} ended with status {status}: {_last_line(said)}")


def _last_line(said: bytes) -> str:
    lines = said.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no message"


def _end(workers: Sequence[Worker]) -> None:
    for worker in workers:
        worker.kill()
    for worker in workers:
        worker.wait()
        for stream in _streams(worker):
            stream.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    sys.exit(main())
