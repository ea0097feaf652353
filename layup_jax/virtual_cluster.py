"""Several hosts on one Linux machine, with links of a set rate: to train over a network without one.

    with virtual_hosts(4, rate="200mbit") as cluster:
        ...                                            # layup train --hosts=virtual
        cluster.limit("50mbit", slow={3: "5mbit"})     # the same hosts, other rates

    layup0 eth0 ------ port0 [bridge in layup-switch] port1 ------ eth0 layup1

Hosts, and the switch between them, are network namespaces, so the machine's own network is left
alone; they share its files, processes and cores. A rate limits both directions of a link; what
would wait in it for more than 0.1 s is dropped, as a switch does, and there is no other delay or loss.
There is one cluster at a time, because names are fixed. Needs root.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from layup_jax.arguments import Parser
from layup_jax.errors import ConfigError, LayupError, TransportError
from layup_jax.interrupts import signals_held
from layup_jax.virtual_host import (
    NAMESPACES,
    check_possible,
    check_rights,
    find_hosts,
    host_name,
)

_SWITCH = "layup-switch"
_MAX_HOSTS = 250
_MAX_RATE = 100 * 10**9  # the queue's length in bytes has 32 bits
_UNITS = {"k": 10**3, "m": 10**6, "g": 10**9}
_RATE = re.compile(r"([1-9]\d{0,8})([kmg])bit", re.ASCII)
_SLOW = re.compile(r"(\d{1,9}):(.*)", re.ASCII)
_QUEUE_SECONDS = 0.1
_BUCKET_SECONDS = 0.004  # what may leave at once; timers of a busy machine are that late
_PACKET_BYTES = 2000  # no bucket is smaller
_SECONDS = 20
_GRACE_SECONDS = 10
_DOWN = "'scripts/virtual_cluster.sh down'"


class Link(NamedTuple):
    """A host and its link.

    Attributes:
      host: its name.
      address: of it.
      rate: bits per second; None without a limit.
    """

    host: str
    address: str
    rate: int | None

    def __str__(self) -> str:
        rate = "no limit" if self.rate is None else f"{self.rate / 1e6:g} Mbit/s"
        return f"{self.host}  {self.address}  {rate}"


class Cluster(NamedTuple):
    """Hosts that are up.

    Attributes:
      num_hosts: how many.
    """

    num_hosts: int

    def limit(self, rate: str | None = None, slow: Mapping[int, str] | None = None) -> None:
        """Changes the rate of every link; see `virtual_hosts`."""
        _limit(_link_rates(self.num_hosts, rate, slow or {}))


@contextlib.contextmanager
def virtual_hosts(
    num_hosts: int, rate: str | None = None, slow: Mapping[int, str] | None = None
) -> Iterator[Cluster]:
    """A cluster for as long as the block lasts; it is gone afterwards, also after Ctrl-C and SIGTERM.

    Args:
      num_hosts: how many, from 1 to 250.
      rate: of every link in each direction, such as "200mbit"; None: no limit.
      slow: by rank, the rates of hosts that have one of their own.

    Raises:
      LayupError: one sentence; one is up already, or none can be made.

    Threads: the main thread only; it handles signals.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_exiting_on_termination())
        with signals_held():
            up(num_hosts, rate, slow)
            stack.callback(_down_undisturbed)
        yield Cluster(num_hosts)


def up(num_hosts: int, rate: str | None = None, slow: Mapping[int, str] | None = None) -> None:
    """Makes a cluster that stays until `down`; arguments and errors as of `virtual_hosts`."""
    rates = _link_rates(num_hosts, rate, slow or {})
    check_possible()
    if (NAMESPACES / _SWITCH).exists() or find_hosts():
        raise ConfigError(
            f"a virtual cluster can be made where there is none, got one with {len(find_hosts())} "
            f"hosts that is up; use it, or take it down with {_DOWN}"
        )
    _run("ip", "netns", "add", _SWITCH)  # of two at the same time, one fails here
    try:
        _in(_SWITCH, "ip link add bridge type bridge")
        _in(_SWITCH, "ip link set bridge up")
        for rank in range(num_hosts):
            _add_host(rank)
        _limit(rates)
    except BaseException:
        down()
        raise


def down() -> None:
    """Ends what runs in the hosts, as a user would, and takes them away; none need be up."""
    check_rights()
    _end_processes()
    for host in find_hosts():
        _run("ip", "netns", "delete", host)
    if (NAMESPACES / _SWITCH).exists():
        _run("ip", "netns", "delete", _SWITCH)


def status() -> tuple[Link, ...]:
    """The hosts that are up."""
    check_rights()
    return tuple(
        Link(host, _address(rank), _rate_of(host)) for rank, host in enumerate(find_hosts())
    )


def parse_rate(text: str) -> int:
    """Of "200mbit" the bits per second.

    Raises:
      ConfigError: it is no rate.
    """
    match = _RATE.fullmatch(text)
    if match is None or (bits := int(match[1]) * _UNITS[match[2]]) > _MAX_RATE:
        raise ConfigError(
            f"a rate must be a whole number with kbit, mbit or gbit, at most 100gbit, got '{text}'; "
            "try 200mbit"
        )
    return bits


def main(argv: Sequence[str]) -> int:
    """The command; see scripts/virtual_cluster.sh."""
    try:
        with _exiting_on_termination():
            _obey(_parser().parse_args(argv))
    except LayupError as error:
        sys.stderr.write(f"layup: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _obey(options: argparse.Namespace) -> None:
    if options.command == "up":
        up(options.num_hosts, options.rate, dict(options.slow))
    elif options.command == "limit":
        Cluster(_count_hosts()).limit(options.rate, dict(options.slow))
    elif options.command == "down":
        down()
    else:
        lines = [f"{link}\n" for link in status()]
        sys.stdout.writelines(lines or ["no virtual cluster is up\n"])


def _parser() -> argparse.ArgumentParser:
    parser = Parser("scripts/virtual_cluster.sh", description="Hosts on this machine.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    rates = Parser(add_help=False)
    rates.add_argument("--rate", help="of all links, such as 200mbit (default: no limit)")
    rates.add_argument(
        "--slow",
        metavar="RANK:RATE",
        type=_slow,
        action="append",
        default=[],
        help="of one host's link; can be repeated",
    )
    make = commands.add_parser("up", help="make N hosts", parents=[rates])
    make.add_argument("num_hosts", metavar="N", type=int)
    commands.add_parser("limit", help="change the rates", parents=[rates])
    commands.add_parser("status", help="list the hosts and their rates")
    commands.add_parser("down", help="end what runs in them and take them away")
    return parser


def _slow(text: str) -> tuple[int, str]:
    match = _SLOW.fullmatch(text)
    if match is None:
        raise ConfigError(f"--slow must be a rank and a rate, got '{text}'; try --slow 1:20mbit")
    return int(match[1]), match[2]


def _count_hosts() -> int:
    count = len(find_hosts())
    if not count:
        raise ConfigError(
            "rates can be changed where a virtual cluster is up, got none; make one with "
            "'scripts/virtual_cluster.sh up 4'"
        )
    return count


def _link_rates(
    num_hosts: int, rate: str | None, slow: Mapping[int, str]
) -> tuple[int | None, ...]:
    """By rank, in bits per second."""
    if not 1 <= num_hosts <= _MAX_HOSTS:
        raise ConfigError(
            f"a virtual cluster must have 1 to {_MAX_HOSTS} hosts, got {num_hosts}; change it"
        )
    absent = [rank for rank in slow if not 0 <= rank < num_hosts]
    if absent:
        raise ConfigError(
            f"slow hosts must be among 0 to {num_hosts - 1}, got {absent[0]}; change it"
        )
    every = None if rate is None else parse_rate(rate)
    return tuple(parse_rate(slow[rank]) if rank in slow else every for rank in range(num_hosts))


def _address(rank: int) -> str:
    return f"10.77.0.{rank + 1}"


def _add_host(rank: int) -> None:
    host, port = host_name(rank), f"port{rank}"
    _run("ip", "netns", "add", host)
    _in(_SWITCH, f"ip link add {port} type veth peer name eth0 netns {host}")
    _in(_SWITCH, f"ip link set {port} master bridge up")
    _in(host, "ip link set lo up")
    _in(host, f"ip address add {_address(rank)}/24 dev eth0")
    _in(host, "ip link set eth0 up")


def _limit(rates: Sequence[int | None]) -> None:
    check_rights()
    for rank, rate in enumerate(rates):
        for namespace, device in ((host_name(rank), "eth0"), (_SWITCH, f"port{rank}")):
            _in(namespace, f"tc qdisc replace dev {device} root {_queue(rate)}")


def _queue(rate: int | None) -> str:
    """What a device sends through, in the words of tc."""
    if rate is None:
        return "pfifo"
    bucket = max(_PACKET_BYTES, round(rate / 8 * _BUCKET_SECONDS))
    return f"tbf rate {rate}bit burst {bucket} latency {_QUEUE_SECONDS * 1e3:.0f}ms"


def _rate_of(host: str) -> int | None:
    queues = json.loads(_in(host, "tc -json qdisc show dev eth0"))
    return next((8 * each["options"]["rate"] for each in queues if each["kind"] == "tbf"), None)


def _processes() -> list[int]:
    return [
        int(each) for host in find_hosts() for each in _run("ip", "netns", "pids", host).split()
    ]


def _end_processes() -> None:
    for number, seconds in ((signal.SIGTERM, _GRACE_SECONDS), (signal.SIGKILL, _SECONDS)):
        for process in _processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)
        deadline, pause = time.monotonic() + seconds, 0.01
        while _processes() and time.monotonic() < deadline:
            time.sleep(pause)
            pause = min(2 * pause, 0.5)


def _in(namespace: str, command: str) -> str:
    """Runs ip or tc on the devices of a namespace."""
    program, *arguments = command.split()
    return _run(program, "-netns", namespace, *arguments)


def _run(*command: str) -> str:
    """The output of a short command, which Ctrl-C does not reach.

    Raises:
      TransportError: it failed.
    """
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        process_group=0,
    )
    if done.returncode:
        raise TransportError(
            f"'{' '.join(command)}' must work, got '{done.stderr.strip()}'; try again after {_DOWN}"
        )
    return done.stdout


def _down_undisturbed() -> None:
    with signals_held():
        down()


@contextlib.contextmanager
def _exiting_on_termination() -> Iterator[None]:
    """Lets SIGTERM unwind the stack, unless somebody handles it already."""
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
