"""Hosts made on this machine: their links, runs over them, and that nothing of either is left.

Collected only where such hosts can be made (conftest.py tries it).
"""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from processes import processes_with

from layup_jax import virtual_cluster
from layup_jax.errors import ConfigError, TransportError
from layup_jax.host import HOSTS_VARIABLE
from layup_jax.testing.endpoints import wait_until
from layup_jax.virtual_cluster import Link, main, status, up, virtual_hosts
from layup_jax.virtual_host import NAMESPACES, entering, find_hosts
from tests.integration.conftest import ROOT, Started, read_summary

pytestmark = pytest.mark.timeout(600)  # they wait for each other
SCRIPT = ROOT / "scripts" / "virtual_cluster.sh"


@pytest.fixture
def alone():
    """There is one cluster at a time on a machine: tests take turns, those run elsewhere too."""
    folder = os.open(NAMESPACES.parent, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        assert find_hosts() == (), "a cluster is up that is not a test's"
        yield
        assert list(NAMESPACES.glob("layup*")) == []
    finally:
        os.close(folder)


@pytest.fixture
def cluster(alone):
    with virtual_hosts(3, rate="200mbit") as cluster:
        yield cluster


def queues(namespace, device):
    """What tc says of one end of a link."""
    command = ("tc", "-json", "-netns", namespace, "qdisc", "show", "dev", device)
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_both_ends_of_a_link_have_its_rate_until_it_is_changed(cluster):
    cluster.limit("80mbit", slow={1: "8mbit"})
    for rank, rate in enumerate((80, 8, 80)):
        for end in ((f"layup{rank}", "eth0"), ("layup-switch", f"port{rank}")):
            (queue,) = queues(*end)
            assert (queue["kind"], queue["options"]["rate"]) == ("tbf", rate * 10**6 / 8)
    assert status()[1] == Link("layup1", "10.77.0.2", 8 * 10**6)
    cluster.limit()
    assert [link.rate for link in status()] == [None] * 3
    assert queues("layup0", "eth0")[0]["kind"] == "pfifo"


def test_a_host_has_a_name_and_sees_its_own_network_only(cluster):
    ask = "import socket; print(socket.gethostname(), *(name for _, name in socket.if_nameindex()))"
    command = [*entering("layup2"), sys.executable, "-c", ask]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["layup2", "lo", "eth0"]


def test_a_second_cluster_is_refused_and_the_first_one_stays(cluster):
    with pytest.raises(ConfigError, match="got one with 3 hosts that is up; use it, or take it"):
        up(2)
    assert len(find_hosts()) == 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, TransportError])
def test_a_cluster_cut_short_is_taken_away(alone, monkeypatch, error):
    def fail(rates):
        raise error

    monkeypatch.setattr(virtual_cluster, "_limit", fail)
    with pytest.raises(error):
        up(2)
    assert list(NAMESPACES.glob("layup*")) == []


def test_the_script_makes_a_cluster_and_takes_it_away(alone):
    def run(*arguments):
        return subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, timeout=60)

    assert run("up", "2", "--slow", "1:20mbit").returncode == 0
    try:
        assert run("status").stdout == (
            "layup0  10.77.0.1  no limit\nlayup1  10.77.0.2  20 Mbit/s\n"
        )
        refused = run("up", "2")
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    finally:
        done = run("down")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert main(["down"]) == 0  # there is none, which is well
    assert run("status").stdout == "no virtual cluster is up\n"


HOLD = """
import signal, subprocess, sys
from layup_jax.virtual_cluster import virtual_hosts
from layup_jax.virtual_host import entering
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's & has it ignored
with virtual_hosts(2):
    inside = subprocess.Popen([*entering("layup1"), "sleep", "600"])
    print("up", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_whoever_made_a_cluster_takes_it_down_when_told_to_end(alone, number):
    mark = uuid.uuid4().hex
    with subprocess.Popen(
        [sys.executable, "-c", HOLD],
        env=os.environ | {"PYTHONPATH": str(ROOT), "LAYUP_TEST_MARK": mark},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout.readline() == "up\n"
        process.send_signal(number)
        assert process.wait(timeout=60) in (128 + number, -number)
    assert find_hosts() == ()
    assert processes_with(mark) == {}


@pytest.mark.mpi
def test_training_over_hosts(cluster, start, tmp_path):
    result = start("--hosts=virtual", "--config.name=hosts", "--config.partition=model").finish(110)
    assert result.status == 0, result.errors
    assert "layup0" not in result.errors  # mpirun has nothing to say
    summary = read_summary(tmp_path / "hosts")
    assert (summary["status"], summary["workers"], summary["hosts"]) == ("finished", 3, 3)
    assert summary["messages_sent"] > 0
    assert "layup, 3 workers on 3 hosts: finished" in result.output


RANK = """
import os, signal, socket, sys, time
from mpi4py import MPI
from layup_jax.host import die_with_parent, local_place
die_with_parent(signal.SIGKILL)
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(130))
assert MPI.COMM_WORLD.allreduce(1) == 3
print(*local_place(), socket.gethostname(), flush=True)
time.sleep(600)
"""


def launched(environment):
    command = [sys.executable, "-m", "layup_jax.launch", "3", sys.executable, "-c", RANK]
    variables = {HOSTS_VARIABLE: "virtual", "PYTHONPATH": str(ROOT)}
    return Started(command, environment | variables, uuid.uuid4().hex)


@pytest.mark.mpi
@pytest.mark.parametrize("ending", ["SIGTERM", "SIGKILL", "kill mpirun", "down"])
def test_no_process_on_any_host_outlives_its_launcher(cluster, environment, ending):
    running = launched(environment)
    process = running.process
    said = sorted(process.stdout.readline() for _ in range(3))
    assert said == [f"{rank} 3 layup{rank}\n" for rank in range(3)]  # of one machine
    if ending == "kill mpirun":
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)
    elif ending == "down":
        assert main(["down"]) == 0
    else:
        process.send_signal(getattr(signal, ending))
    process.wait(timeout=60)
    wait_until(lambda: not processes_with(running.mark), "all processes to end", seconds=30)
    assert not re.search("Traceback|PRTE|plm", running.finish().errors)


@pytest.mark.mpi
@pytest.mark.slow
def test_a_run_over_hosts_ends_with_its_results_on_sigterm(cluster, start, tmp_path):
    metrics = [tmp_path / "stopped" / f"rank{rank}" / "metrics.jsonl" for rank in range(3)]
    running = start("--hosts=virtual", "--config.name=stopped", "--config.stop.steps=1000000")
    wait_until(
        lambda: all(each.exists() and each.stat().st_size for each in metrics),
        "the first line of metrics of every worker",
        seconds=200,
    )
    running.process.send_signal(signal.SIGTERM)
    result = running.finish()
    assert result.status == 128 + signal.SIGTERM
    assert read_summary(tmp_path / "stopped", result)["status"] == "interrupted"


OVERTAKING = """
import numpy as np
from layup_jax.transport.base import Kind
from layup_jax.transport.mpi import MpiTransport

def taken():
    while (message := transport.poll()) is None:
        pass
    return message

transport = MpiTransport("host")
large, small = np.zeros(3_000_000, np.uint8), np.zeros(1, np.uint8)
sent = []
if transport.rank == 0:
    sent = [transport.send(2, Kind.PUSH, 7, large), transport.send(1, Kind.PUSH, 0, small)]
if transport.rank == 1:
    taken()
    sent = [transport.send(2, Kind.PUSH, 0, small)]
if transport.rank == 2:
    print(*((message.source, message.segment, message.body.size) for message in (taken(), taken())))
while not all([each.done() for each in sent]):
    transport.poll()
barrier = transport.barrier()
while not barrier.done():
    transport.poll()
"""


@pytest.mark.mpi
def test_a_message_on_a_slow_link_is_overtaken_by_those_of_others(cluster, environment):
    cluster.limit("200mbit", slow={0: "8mbit"})
    command = [sys.executable, "-m", "layup_jax.launch", "3", sys.executable, "-c", OVERTAKING]
    variables = {HOSTS_VARIABLE: "virtual", "PYTHONPATH": str(ROOT)}
    result = Started(command, environment | variables, uuid.uuid4().hex).finish()
    assert (result.status, result.errors) == (0, "")
    assert result.output == "(1, 0, 1) (0, 7, 3000000)\n"


REPORT = """
import os, socket
from mpi4py import MPI
print(socket.gethostname(), MPI.COMM_WORLD.size, os.environ["LAYUP_HOSTS"], flush=True)
"""


@pytest.mark.mpi
def test_other_hosts_are_started_over_ssh(environment, tmp_path):
    """With a program in ssh's place that gives each host its name, and nothing of our variables."""
    program = tmp_path / "ssh"
    program.write_text(
        "#!/bin/sh\nwhile :; do case $1 in -o) shift 2;; -*) shift;; *) break;; esac; done\n"
        "exec env -u PYTHONPATH -u LAYUP_HOSTS unshare --uts "
        """sh -c 'hostname "$0" && exec sh -c "$*"' "$@"\n"""
    )
    program.chmod(0o755)
    command = [sys.executable, "-m", "layup_jax.launch", "3", sys.executable, "-c", REPORT]
    variables = {HOSTS_VARIABLE: "a:1,b:2", "PYTHONPATH": str(ROOT)}
    variables["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
    result = Started(command, environment | variables, uuid.uuid4().hex).finish()
    assert (result.status, result.errors) == (0, "")
    assert sorted(result.output.splitlines()) == ["a 3 a:1,b:2", "b 3 a:1,b:2", "b 3 a:1,b:2"]
