"""Starting workers with mpirun, and ending them with whoever started them.

    become_launcher(4, None, rank_command=[sys.executable, "-m", "layup_jax.cli", "train", ...])

    layup train --workers=4          checks everything, then becomes, by exec,
      python -m layup_jax.launch     which is small, keeps mpirun's noise from the user, and starts
        mpirun -n 4 ...              which starts
          layup train ...            the workers

Ctrl-C and SIGTERM end training after the current step (a second one ends it at once); they reach the
workers as SIGUSR1, because mpirun kills its workers a quarter of a second after a SIGINT of its own.
On Linux everybody is also ended when the process above is, even by kill -9.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import NamedTuple, NoReturn

from layup_jax.errors import LayupError, TransportError
from layup_jax.host import HOSTS_VARIABLE, die_with_parent
from layup_jax.hosts import Hosts, find_hosts, mpirun_options
from layup_jax.interrupts import ENDED
from layup_jax.virtual_host import entering

QUIET_STATUSES = (2, 130)  # the worker has said why, or the user knows
_GRACE_SECONDS = 20
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ASK_SECONDS = 30
_RULE = re.compile(rb"-{60,}\s*")
_SPEAKER = re.compile(rb"prterun |mpirun |MPI_ABORT ")
_BANNER = re.compile(
    rb"detected that one or more processes exited with non-zero status.*Exit code: +(\d+)\s",
    re.DOTALL,
)
_RACE = re.compile(
    rb"\[[^\]]*\] PMIX ERROR: PMIX_ERR_UNREACH in file |\[warn\] Epoll MOD\(\d+\) on fd \d+ failed"
    rb"|\[[^\]]*\] plm:ssh: Warning: setpgid"
)
_SENTENCE = b"layup: "
_VENDORS = {"open mpi": "Open MPI", "openrte": "Open MPI", "hydra": "MPICH", "intel": "Intel MPI"}


class Mpirun(NamedTuple):
    """A program that starts MPI processes.

    Attributes:
      path: of the program.
      vendor: Open MPI | MPICH | Intel MPI | unknown.
      version: such as (5, 0, 11); empty if it does not say.
    """

    path: str
    vendor: str
    version: tuple[int, ...]

    @property
    def description(self) -> str:
        """Vendor and version in words."""
        return f"{self.vendor} {'.'.join(map(str, self.version))}".strip()


def find_mpirun() -> Mpirun:
    """The mpirun beside this Python, else the first on PATH.

    Raises:
      TransportError: there is none, or it does not run.
    """
    beside = Path(sys.executable).parent / "mpirun"
    path = str(beside) if os.access(beside, os.X_OK) else shutil.which("mpirun")
    if path is None:
        raise TransportError(
            f"several workers need mpirun, found none in {beside.parent} or on PATH; "
            "run 'make env', or install Open MPI and mpi4py"
        )
    text = _output([path, "--version"], "run 'make env' again or repair that installation")
    vendor = next((name for key, name in _VENDORS.items() if key in text.lower()), "unknown")
    number = re.search(r"\d+(?:\.\d+)+", text)
    return Mpirun(path, vendor, tuple(map(int, number[0].split("."))) if number else ())


def mpi_library() -> str:
    """Vendor of the MPI library that mpi4py loads; asked in another process, which takes 0.15 s.

    Raises:
      TransportError: there is none.
    """
    if importlib.util.find_spec("mpi4py") is None:
        raise TransportError("workers need the package mpi4py, found none; run 'make env'")
    ask = (
        "import mpi4py; mpi4py.rc.initialize = False; "
        "from mpi4py import MPI; print(MPI.get_vendor()[0])"
    )
    remedy = "run 'make env' again, or put libmpi on LD_LIBRARY_PATH"
    return _output([sys.executable, "-c", ask], remedy).strip()


def check_pair(mpirun: Mpirun, library: str) -> None:
    """Refuses an mpirun that does not belong to the MPI library: each worker would be alone.

    Raises:
      TransportError: one sentence.
    """
    known = mpirun.vendor != "unknown"
    if known and (library == "Open MPI") != (mpirun.vendor == "Open MPI"):  # the others are kin
        raise TransportError(
            f"mpirun and mpi4py must be of one MPI, got {mpirun.path} of {mpirun.vendor} and an "
            f"mpi4py on {library}; put the mpirun of {library} first on PATH"
        )


def check_several_hosts(mpirun: Mpirun) -> None:
    """Refuses an mpirun that does not know `mpirun_options`.

    Raises:
      TransportError: one sentence.
    """
    if mpirun.vendor != "Open MPI" or mpirun.version < (5,):
        raise TransportError(
            f"--hosts needs Open MPI 5 or newer, got {mpirun.path} of {mpirun.description}; leave "
            "--hosts out, and start 'layup train' with that mpirun yourself"
        )


def mpirun_command(mpirun: Mpirun, workers: int, extra: Sequence[str] = ()) -> list[str]:
    """How this mpirun starts workers: unbound (they bind themselves), more than cores if need be."""
    command = [mpirun.path, "-n", str(workers)]
    if mpirun.vendor == "Open MPI":
        command += ["--oversubscribe", "--bind-to", "none", "--stdin", "none"]
        if mpirun.version < (5,):
            command += ["--quiet"]  # Open MPI 5 refuses it
    elif mpirun.vendor == "MPICH":
        command += ["-bind-to", "none"]
    return [*command, *extra]


def mpirun_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of mpirun and its workers."""
    environment = dict(environ)
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        environment["OMPI_ALLOW_RUN_AS_ROOT"] = "1"
        environment["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    return environment


def hosts_command(
    mpirun: Mpirun, workers: int, hosts: Hosts, rank_command: Sequence[str]
) -> list[str]:
    """How this mpirun starts workers on hosts; it runs on the first one itself if they are virtual."""
    options = mpirun_options(hosts, os.environ)
    inside = entering(hosts.each[0].name) if hosts.is_virtual else []
    return [*inside, *mpirun_command(mpirun, workers, [*options, *rank_command])]


def become_launcher(
    workers: int, hosts: Hosts | None, rank_command: Sequence[str], environ: Mapping[str, str]
) -> NoReturn:
    """Replaces this process, and the memory that its checks took, by the launcher.

    Args:
      workers: how many, at least 1.
      hosts: where; None: here.
      rank_command: what each worker executes.
      environ: from before anything was imported that writes to os.environ.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)  # until the launcher can handle them
    command = [sys.executable, "-m", "layup_jax.launch", str(workers), *rank_command]
    os.execve(sys.executable, command, {**environ, HOSTS_VARIABLE: hosts.text if hosts else ""})


class Launcher:
    """One mpirun, its noise and its end.

    Threads: the main thread only; it handles signals.
    Blocks: `run` until mpirun has ended.
    """

    def __init__(self, mpirun: Mpirun):
        """Starts nothing yet."""
        self._mpirun = mpirun
        self._process: subprocess.Popen[bytes] | None = None
        self._signals: list[int] = []

    def run(self, command: Sequence[str]) -> int:
        """Runs an mpirun command to its end; its status, or 128 + signal if the user ended it."""
        for number in (*_ENDING, signal.SIGALRM):
            signal.signal(number, self._end)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        if self._signals:  # see become_launcher
            return 128 + self._signals[0]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=mpirun_environment(os.environ),
            process_group=0,  # Ctrl-C comes here only
            preexec_fn=die_with_parent,  # this process has no other threads
        )
        if self._signals:  # one came while mpirun was being started
            self._process.terminate()
        self._forward_errors()
        status = self._process.wait()
        signal.alarm(0)
        if self._signals:
            return 128 + self._signals[0]
        return status if status >= 0 else 128 - status

    def _forward_errors(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        noise = Noise(is_quiet=lambda: bool(self._signals))
        while chunk := os.read(self._process.stderr.fileno(), 1 << 16):
            _write_error(noise.pass_on(chunk))
        _write_error(noise.rest())

    def _end(self, number: int, frame: FrameType | None) -> None:
        """Asks the workers to stop; the next signal, or the alarm, ends them."""
        del frame
        is_first = not self._signals
        if number != signal.SIGALRM:
            self._signals.append(number)
        if self._process is None or self._process.poll() is not None:
            return
        if is_first and self._mpirun.vendor == "Open MPI":
            self._process.send_signal(signal.SIGUSR1)  # mpirun hands it on to every worker
            signal.alarm(_GRACE_SECONDS)
        else:
            _write_error(ENDED)
            self._process.terminate()


class Noise:
    """Takes out of mpirun's standard error what the user need not read.

    That is: the banner about a status in `QUIET_STATUSES`, all banners once `is_quiet`, lines about
    messages that mpirun could not give to a worker that had just ended, or about a process group that ssh
    had already made, and a sentence of ours that another worker has said already, be it with other
    numbers.
    """

    def __init__(self, is_quiet: Callable[[], bool]):
        """Asks `is_quiet` at the end of each banner."""
        self._is_quiet = is_quiet
        self._line = b""
        self._block: list[bytes] | None = None
        self._said: set[bytes] = set()

    def pass_on(self, chunk: bytes) -> bytes:
        """What of it (and of what was held back before) can be shown now."""
        *lines, self._line = (self._line + chunk).split(b"\n")
        shown = b"".join(self._take(line + b"\n") for line in lines)
        if self._block is None and not self._line.startswith((b"-", b"[", _SENTENCE)):
            shown += self._line  # a progress line, say, that has no end yet
            self._line = b""
        return shown

    def rest(self) -> bytes:
        """What is still held back; nothing comes after it."""
        shown = b"".join(self._block or ()) + self._line
        self._block, self._line = None, b""
        return shown

    def _take(self, line: bytes) -> bytes:
        if _RACE.match(line):  # within a banner too
            return b""
        is_rule = _RULE.fullmatch(line) is not None
        if self._block is None:
            if is_rule:
                self._block = [line]
                return b""
            return b"" if self._is_repeated(line) else line
        self._block.append(line)
        is_banner = _SPEAKER.match(self._block[1]) is not None
        if is_banner and not is_rule:
            return b""
        block, self._block = b"".join(self._block), None
        banner = _BANNER.search(block)
        is_noise = self._is_quiet() or (banner and int(banner[1]) in QUIET_STATUSES)
        return b"" if is_banner and is_noise else block

    def _is_repeated(self, line: bytes) -> bool:
        if not line.startswith(_SENTENCE):
            return False
        sentence = re.sub(rb"\d+", b"0", line)
        is_repeated = sentence in self._said
        self._said.add(sentence)
        return is_repeated


def main(argv: Sequence[str] | None = None) -> int:
    """The launcher's process: number of workers, then what each executes; hosts from the environment."""
    workers, *rank_command = sys.argv[1:] if argv is None else argv
    try:
        mpirun = find_mpirun()
        text = os.environ.get(HOSTS_VARIABLE)
        hosts = find_hosts(text) if text else None
    except LayupError as error:
        _write_error(f"layup: {error}\n".encode())
        return 2
    if hosts is None:
        command = mpirun_command(mpirun, int(workers), rank_command)
    else:
        command = hosts_command(mpirun, int(workers), hosts, rank_command)
    return Launcher(mpirun).run(command)


def _write_error(text: bytes) -> None:
    while text:
        text = text[os.write(sys.stderr.fileno(), text) :]


def _output(command: Sequence[str], remedy: str) -> str:
    """What a short command prints, or one sentence about why it does not run."""
    name = os.path.basename(command[0])
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_ASK_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TransportError(f"{name} must run, got '{error}'; {remedy}") from error
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
        reason = next((line for line in lines if re.match(r"\w+Error: ", line)), lines[-1])
        raise TransportError(f"MPI must load and run, got '{reason.strip()}'; {remedy}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
