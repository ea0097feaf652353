"""One host of a virtual cluster, for whoever starts something there.

    find_hosts()                                # ("layup0", "layup1")
    [*entering("layup0"), "mpirun", ...]        # a command that runs there, under that host name

A virtual host is a network namespace of this machine; `virtual_cluster.py` makes them. As a program
this module is what mpirun is given in the place of ssh: its arguments are a host and a shell command.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from layup_jax.errors import TransportError

AGENT = f"{sys.executable} -m layup_jax.virtual_host"
NAMESPACES = Path("/run/netns")
_PREFIX = "layup"
_PROGRAMS = ("ip", "tc", "nsenter", "unshare", "hostname")
_SECONDS = 20
_TRIAL = """
mount -t tmpfs none /run
ip netns add try
ip link add bridge type bridge
ip link add port type veth peer name eth0 netns try
tc qdisc add dev port root tbf rate 1mbit burst 2kb latency 1ms
"""  # in namespaces of its own, which end with it


def host_name(rank: int) -> str:
    """Of a host, and of its namespace."""
    return f"{_PREFIX}{rank}"


def find_hosts() -> tuple[str, ...]:
    """The hosts that are up, in order."""
    names = (path.name.removeprefix(_PREFIX) for path in NAMESPACES.glob(f"{_PREFIX}*"))
    return tuple(
        host_name(rank) for rank in sorted(int(each) for each in names if each.isdecimal())
    )


def entering(host: str) -> list[str]:
    """What to put before a command so that it runs on a host; it replaces itself by the command."""
    rename = 'hostname "$0" && exec "$@"'
    return ["nsenter", f"--net={NAMESPACES / host}", "unshare", "--uts", "sh", "-c", rename, host]


def check_rights() -> None:
    """Refuses a user or a machine that cannot enter namespaces.

    Raises:
      TransportError: one sentence.
    """
    missing = next((each for each in _PROGRAMS if shutil.which(each) is None), None)
    if missing:
        raise TransportError(
            f"virtual hosts need Linux with the program {missing}, found none on PATH; install "
            "the packages iproute2, util-linux and hostname"
        )
    if os.geteuid() != 0:
        raise TransportError(f"virtual hosts need root, got user {os.geteuid()}; use sudo")


def check_possible() -> None:
    """Tries to make a host and its link, and leaves nothing of it.

    Raises:
      TransportError: one sentence.
    """
    check_rights()
    command = ["unshare", "--net", "--uts", "--mount", "sh", "-ec", _TRIAL]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    if done.returncode:
        reason = (done.stderr.strip() or f"status {done.returncode}").splitlines()[-1]
        raise TransportError(
            "virtual hosts need network namespaces, bridges, veth and tbf in the kernel, got "
            f"'{reason}'; use a machine, or a privileged container, that has them"
        )


def main(argv: Sequence[str]) -> None:
    """Becomes a shell command on a host."""
    host, *command = argv
    program = [*entering(host), "sh", "-c", " ".join(command)]
    os.execvp(program[0], program)


if __name__ == "__main__":
    main(sys.argv[1:])
