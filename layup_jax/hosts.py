"""Where workers are to run: what --hosts says, whether it can be had, and what mpirun is told of it.

    hosts = find_hosts("a,b:2")          # or "virtual", or the name of a hostfile
    hosts.slots, hosts.text              # 3, "a:1,b:2"
    check_reachable(hosts)

Virtual hosts are on this machine (`virtual_cluster.py`), the others are reached with ssh, without a
password; there the program must be at the same path, and the run folder on a disk that all share.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from layup_jax import virtual_host
from layup_jax.errors import ConfigError, TransportError, reason
from layup_jax.host import VIRTUAL

_NAME = r"([A-Za-z0-9][A-Za-z0-9._-]*)"
_ITEM = re.compile(rf"{_NAME}(?::([1-9]\d{{0,3}}))?", re.ASCII)
_LINE = re.compile(rf"{_NAME}(?:\s+slots\s*=\s*([1-9]\d{{0,3}}))?", re.ASCII)
_SSH_OPTIONS = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=5")
_SSH_SECONDS = 20
_TCP_ONLY = ("--mca", "pml", "ob1", "--mca", "btl", "tcp,self")  # not around the links
_NO_CONNECTION = 255  # ssh's status; all others are of the command
_FORWARDED = re.compile(r"(JAX|XLA|TFDS|LAYUP|MPI4JAX|MPI4PY)_\w+|PYTHONPATH")


class Host(NamedTuple):
    """A machine, or what acts as one.

    Attributes:
      name: of it.
      slots: the workers it can have.
    """

    name: str
    slots: int


class Hosts(NamedTuple):
    """All hosts of a run.

    Attributes:
      each: of them, in the order in which they get workers.
      is_virtual: whether they are namespaces of this machine.
    """

    each: tuple[Host, ...]
    is_virtual: bool

    @property
    def slots(self) -> int:
        """The workers that all together can have."""
        return sum(host.slots for host in self.each)

    @property
    def text(self) -> str:
        """The inverse of `find_hosts`."""
        return VIRTUAL if self.is_virtual else _listed(self.each)


def find_hosts(text: str) -> Hosts:
    """The hosts that --hosts means.

    Args:
      text: "virtual", "a,b:2" with the slots of a host behind its name, or the name of a hostfile.

    Raises:
      LayupError: it means none.
    """
    if text == VIRTUAL:
        return Hosts(tuple(Host(name, 1) for name in _virtual_names()), is_virtual=True)
    if text.startswith(f"{VIRTUAL}:"):
        raise ConfigError(
            f"--hosts=virtual must have no slots, each of its hosts takes one worker, got '{text}'; "
            "use --hosts=virtual and --workers"
        )
    if os.sep in text or os.path.isfile(text):
        return Hosts(_distinct(_read(Path(text))), is_virtual=False)
    return Hosts(_distinct(map(_parse_item, text.split(","))), is_virtual=False)


def check_reachable(hosts: Hosts) -> None:
    """Tries to run something on each of them that is another machine, on all at once.

    Raises:
      TransportError: one sentence about the first that does not answer.
    """
    own = {"localhost", socket.gethostname()}
    names = [host.name for host in hosts.each if host.name not in own]
    if hosts.is_virtual or not names:
        return
    if shutil.which("ssh") is None:
        raise TransportError(
            "other hosts need the program ssh, found none on PATH; install openssh-client"
        )
    wanted = f"cd {shlex.quote(os.getcwd())} && test -x {shlex.quote(sys.executable)}"
    asked = [(name, _start_ssh(name, wanted)) for name in names]
    errors = [_wait_for_ssh(name, process) for name, process in asked]
    for error in errors:
        if error is not None:
            raise error


def mpirun_options(hosts: Hosts, environ: Mapping[str, str]) -> list[str]:
    """What Open MPI 5 is told so that it starts workers there, with these variables of ours."""
    options = ["--host", _listed(hosts.each)]
    if hosts.is_virtual:
        return [*options, "--prtemca", "plm_ssh_agent", virtual_host.AGENT, *_TCP_ONLY]
    for name in filter(_FORWARDED.fullmatch, environ):
        options += ["-x", name]
    return options


def _listed(hosts: Sequence[Host]) -> str:
    return ",".join(f"{host.name}:{host.slots}" for host in hosts)


def _virtual_names() -> Sequence[str]:
    virtual_host.check_rights()
    names = virtual_host.find_hosts()
    if not names:
        raise ConfigError(
            "--hosts=virtual needs a virtual cluster, found none that is up; make one with "
            "'scripts/virtual_cluster.sh up 4'"
        )
    return names


def _parse_item(item: str) -> Host:
    match = _ITEM.fullmatch(item)
    if match is None:
        raise ConfigError(
            "--hosts must be virtual, a hostfile that exists, or names with their slots, got "
            f"'{item}'; try --hosts=virtual or --hosts=a,b:2"
        )
    return Host(match[1], int(match[2] or 1))


def _read(path: Path) -> list[Host]:
    """The lines of a hostfile; # begins a comment."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"--hosts must name a hostfile that can be read, got '{path}' ({reason(error)}); "
            "change it"
        ) from error
    bare = [line.partition("#")[0].strip() for line in lines]
    hosts = [_parse_line(path, number, line) for number, line in enumerate(bare, 1) if line]
    if not hosts:
        raise ConfigError(f"a hostfile must name hosts, got none in '{path}'; add 'name slots=1'")
    return hosts


def _parse_line(path: Path, number: int, line: str) -> Host:
    match = _LINE.fullmatch(line)
    if match is None:
        raise ConfigError(
            f"a line of a hostfile must be like 'name slots=4', got '{line}' in line {number} of "
            f"'{path}'; change it"
        )
    return Host(match[1], int(match[2] or 1))


def _distinct(hosts: Iterable[Host]) -> tuple[Host, ...]:
    found: dict[str, Host] = {}
    for host in hosts:
        if host.name in found:
            raise ConfigError(
                f"each host must be named once, got '{host.name}' twice; give it more slots instead"
            )
        found[host.name] = host
    return tuple(found.values())


def _start_ssh(name: str, command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["ssh", *_SSH_OPTIONS, name, command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _wait_for_ssh(name: str, process: subprocess.Popen[str]) -> TransportError | None:
    try:
        _, errors = process.communicate(timeout=_SSH_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return _unreachable(name, f"no answer within {_SSH_SECONDS} s")
    if process.returncode == 0:
        return None
    reason = (errors.strip() or f"status {process.returncode}").splitlines()[-1].strip()
    if process.returncode == _NO_CONNECTION:
        return _unreachable(name, reason)
    return TransportError(
        f"host '{name}' must have the folder {os.getcwd()} and the program {sys.executable}, got "
        f"'{reason}'; install the same at the same path on every host"
    )


def _unreachable(name: str, reason: str) -> TransportError:
    return TransportError(
        f"host '{name}' must be reachable by ssh without a password, got '{reason}'; see that "
        f"'ssh {name} true' works, or give --hosts other names or a hostfile that exists"
    )
