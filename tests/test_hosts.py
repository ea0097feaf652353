"""What --hosts means, what it refuses, and whether other hosts are asked before anything starts."""

import os

import pytest

from layup_jax import virtual_host
from layup_jax.cli import _count_workers
from layup_jax.errors import ConfigError, TransportError
from layup_jax.hosts import Host, check_reachable, find_hosts, mpirun_options
from layup_jax.launch import Mpirun, check_several_hosts
from layup_jax.virtual_cluster import main, parse_rate

HOSTS = (Host("a", 1), Host("b.example.org", 2))


def test_hosts_are_named_on_the_command_line_or_in_a_file(tmp_path):
    file = tmp_path / "hosts"
    file.write_text("# ours\n\na slots=1 # the first\n  b.example.org   slots = 2\n")
    for text in ("a,b.example.org:2", str(file)):
        hosts = find_hosts(text)
        assert (hosts.each, hosts.slots, hosts.is_virtual) == (HOSTS, 3, False)
        assert find_hosts(hosts.text) == hosts


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "--hosts must be virtual, a hostfile that exists, or names with their slots, got ''"),
        ("a,", "got ''"),
        ("a:0", "got 'a:0'"),
        ("a:2:3", "got 'a:2:3'"),
        ("a b", "got 'a b'"),
        (
            "virtual:2",
            "--hosts=virtual must have no slots, .*, got 'virtual:2'; use --hosts=virtual",
        ),
        ("-oProxyCommand=x", "got '-oProxyCommand=x'"),
        ("a,b,a:2", "each host must be named once, got 'a' twice; give it more slots instead"),
        (
            "./absent",
            "a hostfile that can be read, got 'absent' .No such file or directory.; change",
        ),
        ("./", "a hostfile that can be read, got '.' .Is a directory.; change it"),
    ],
)
def test_what_names_no_hosts_is_one_sentence(text, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=sentence):
        find_hosts(text)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "a hostfile must name hosts, got none in"),
        (b"# a slots=1\n", "a hostfile must name hosts, got none in"),
        (b"a\nb slots=0\n", "must be like 'name slots=4', got 'b slots=0' in line 2 of"),
        (b"a max_slots=2\n", "got 'a max_slots=2' in line 1 of"),
        (b"a slots=1\na slots=1\n", "got 'a' twice"),
        (b"\xff\n", "not text"),
    ],
)
def test_a_malformed_hostfile_is_one_sentence(content, sentence, tmp_path):
    (tmp_path / "hosts").write_bytes(content)
    with pytest.raises(ConfigError, match=sentence):
        find_hosts(str(tmp_path / "hosts"))


def test_each_slot_gets_a_worker_and_no_more():
    hosts = find_hosts("a,b:2")
    assert [
        _count_workers(*each) for each in ((None, None), (4, None), (None, hosts), (2, hosts))
    ] == ([1, 4, 3, 2])
    with pytest.raises(ConfigError, match="at most the number of slots of all hosts, 3, got 4; "):
        _count_workers(4, hosts)


def test_an_mpirun_that_cannot_be_told_of_hosts_is_refused():
    check_several_hosts(Mpirun("m", "Open MPI", (5, 0, 11)))
    for mpirun in (Mpirun("m", "Open MPI", (4, 1, 6)), Mpirun("m", "MPICH", (5, 2))):
        with pytest.raises(TransportError, match="--hosts needs Open MPI 5 or newer, got m of"):
            check_several_hosts(mpirun)


def test_only_variables_that_matter_to_a_run_go_to_other_hosts():
    names = (
        "PATH",
        "PYTHONPATH",
        "JAX_PLATFORMS",
        "HOME",
        "TFDS_DATA_DIR",
        "LAYUP_HOSTS",
        "MY_JAX_X",
    )
    options = mpirun_options(find_hosts("a,b:2"), dict.fromkeys(names, "x"))
    assert " ".join(options) == (
        "--host a:1,b:2 -x PYTHONPATH -x JAX_PLATFORMS -x TFDS_DATA_DIR -x LAYUP_HOSTS"
    )


@pytest.fixture
def ssh(tmp_path, monkeypatch):
    """Puts a script in ssh's place; it is called with its options, the host and the command."""

    def install(script):
        program = tmp_path / "ssh"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return install


def test_hosts_that_answer_are_well_and_this_one_is_not_asked(ssh):
    ssh('[ "$1 $2 $3 $4 $5" = "-o BatchMode=yes -o ConnectTimeout=5 a" ] && exec sh -c "$6"')
    check_reachable(find_hosts("a,localhost:2"))


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (
            'case "$*" in *" b "*) echo ssh: closed port >&2; exit 255 ;; esac',
            "host 'b' must be reachable by ssh without a password, got 'ssh: closed port'; see that",
        ),
        ("exit 1", "host 'a' must have the folder .* and the program .*, got 'status 1'; install"),
    ],
)
def test_a_host_that_cannot_be_used_is_one_sentence(ssh, script, sentence):
    ssh(script)
    with pytest.raises(TransportError, match=sentence):
        check_reachable(find_hosts("a,b:2"))


def test_other_hosts_need_ssh(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        TransportError, match="other hosts need the program ssh, found none on PATH"
    ):
        check_reachable(find_hosts("a"))


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine on which virtual hosts could be, and are not."""
    monkeypatch.setattr(virtual_host.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(virtual_host.os, "geteuid", lambda: 0)
    monkeypatch.setattr(virtual_host, "NAMESPACES", tmp_path)
    return monkeypatch


def test_virtual_hosts_are_the_namespaces_of_that_name(machine, tmp_path):
    with pytest.raises(ConfigError, match="--hosts=virtual needs a virtual cluster, found none"):
        find_hosts("virtual")
    for name in ("layup10", "layup2", "layup-switch", "layup1x", "other"):
        (tmp_path / name).touch()
    hosts = find_hosts("virtual")
    assert (hosts.each, hosts.text) == ((Host("layup2", 1), Host("layup10", 1)), "virtual")


def test_virtual_hosts_need_root_and_programs(machine):
    machine.setattr(virtual_host.os, "geteuid", lambda: 1000)
    with pytest.raises(TransportError, match="virtual hosts need root, got user 1000; use sudo"):
        find_hosts("virtual")
    machine.setattr(virtual_host.shutil, "which", lambda name: None if name == "tc" else name)
    with pytest.raises(TransportError, match="need Linux with the program tc, found none on PATH"):
        find_hosts("virtual")


def test_rates_are_in_the_words_of_tc():
    assert [parse_rate(text) for text in ("1kbit", "200mbit", "100gbit")] == [1e3, 2e8, 1e11]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            "",
            "the following arguments are required: COMMAND; see 'scripts/virtual_cluster.sh --help'",
        ),
        ("upp", "invalid choice: 'upp'"),
        ("up", "the following arguments are required: N"),
        ("up two", "argument N: invalid int value: 'two'"),
        ("up 0", "a virtual cluster must have 1 to 250 hosts, got 0; change it"),
        ("up 2 --rate 200", "at most 100gbit, got '200'; try 200mbit"),
        ("up 2 --rate 0mbit", "got '0mbit'"),
        ("up 2 --rate 101gbit", "got '101gbit'"),
        ("up 2 --slow 1", "--slow must be a rank and a rate, got '1'; try --slow 1:20mbit"),
        ("up 2 --slow 2:1mbit", "slow hosts must be among 0 to 1, got 2; change it"),
        ("up 2 --slow 1:fast", "got 'fast'"),
        ("limit --rate 1mbit", "rates can be changed where a virtual cluster is up, got none"),
        ("down now", "unrecognized arguments: now"),
    ],
)
def test_what_no_cluster_can_be_is_one_sentence(machine, capsys, arguments, sentence):
    assert main(arguments.split()) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("layup: ")
    assert errors.count("\n") == 1
    assert sentence in errors
