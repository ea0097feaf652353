"""The command line as its users meet it: real processes, their status, their one line, their end."""

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

import pytest
from processes import processes_with

from layup_jax.errors import TransportError
from layup_jax.launch import Mpirun, Noise, check_pair, mpirun_command
from layup_jax.testing.endpoints import wait_until
from layup_jax.world import World, find_world
from tests.report.made_runs import made_run

REPOSITORY = Path(__file__).parent.parent
CONFIG = "--config=configs/digits_layup.py"
LAYUP = (sys.executable, "-m", "layup_jax.cli")
LAUNCH = (sys.executable, "-m", "layup_jax.launch")
MPIRUN = (
    *("timeout", "60", str(Path(sys.executable).parent / "mpirun")),
    *("--allow-run-as-root", "--oversubscribe", "--bind-to", "none"),
)
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")


def environment():
    return {**os.environ, "PYTHONPATH": str(REPOSITORY)}


def run(*command, **changes):
    return subprocess.run(
        command,
        cwd=REPOSITORY,
        env={**environment(), **changes},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


@contextmanager
def interruptible():
    """What is started meanwhile does not inherit that SIGINT is ignored, as a shell's & has it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def started(*command):
    """A process, killed if the test fails before it ends."""
    with subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def assert_none_left(marker):
    wait_until(lambda: not processes_with(marker), "all processes to end", seconds=5)


def assert_one_sentence(done, sentence):
    lines = done.stderr.splitlines()
    assert done.returncode == 2, done.stderr
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("layup: ")
    assert sentence in lines[0]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "a command must be given, got none; use one of: train, doctor, list"),
        (("trian",), "unknown command 'trian'; did you mean 'train'?"),
        (("train",), "train needs a configuration, got none; add --config="),
        (("train", "--config"), "expected one argument; see 'layup train --help'"),
        (
            ("train", CONFIG, "--wokers=2"),
            "unknown argument '--wokers=2'; did you mean '--workers'?",
        ),
        (("train", CONFIG, "--workers=0"), "--workers must be at least 1, got 0"),
        (("train", CONFIG, "--workers=-1"), "--workers must be at least 1, got -1"),
        (("train", CONFIG, "--workers=four"), "--workers must be a number, got 'four'"),
        (("train", "--config=configs/digits_layap.py"), "did you mean 'configs/digits_layup.py'?"),
        (
            ("train", "--config=configs/digits.py:slomo", "--workers=2"),
            "unknown name 'slomo' for 'configs/digits.py'; did you mean 'slowmo'?",
        ),
        (
            ("train", f"{CONFIG}:slowmo"),
            "'configs/digits_layup.py' takes no name, got 'slowmo'; use --config=configs/",
        ),
        (
            ("report", "runs/none", "--out=x.pdf"),
            "must end in one of .html, .md, .csv, got 'x.pdf'",
        ),
        (("report", "runs/none", "--mixd"), "unknown argument '--mixd'; did you mean '--mixed'?"),
        (("list", "--models"), "unknown argument '--models'; use one of: --help"),
        (
            ("train", CONFIG, "--config.seed"),
            "an override needs a key and a value, got '--config.seed'",
        ),
        (
            ("train", CONFIG, "--hosts=localhost:2", "--workers=3"),
            "--workers must be at most the number of slots of all hosts, 2, got 3",
        ),
        (("train", CONFIG, "--hosts=./absent"), "--hosts must name a hostfile that can be read"),
        (("train", CONFIG, "--workers=2", "--config.sed=1"), "config.sed; did you mean 'seed'?"),
        (
            ("train", CONFIG, "--workers=2", "--config.delay.ranks=2"),
            "config.delay.ranks must be among the 2 workers, 0 to 1, got 2; change it or --workers",
        ),
        (
            ("train", CONFIG, "--workers=2", "--config.local_devices=5"),
            "must be divisible by config.local_devices, 5, got 32 samples; change config.batch_size",
        ),
        (
            ("train", CONFIG, "--workers=6", "--config.strategy.topology=hypercube"),
            "topology 'hypercube' needs a power of two as number of workers, got 6",
        ),
        (
            ("train", CONFIG, "--workers=2", "--config.seed", "x"),
            "config.seed must be int, got 'x'",
        ),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments, sentence):
    assert_one_sentence(run(*LAYUP, *arguments), sentence)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("--config.strategy.topology=/absent.edgelist", "/absent.edgelist"),
        ("--config.delay.ranks=3", "config.delay.ranks must be among the 1 workers"),
        ("--config.model.name=gpt", "a GPT needs sequences of tokens"),
    ],
)
def test_a_run_that_cannot_start_leaves_no_folder(tmp_path, wrong, sentence):
    done = run(*LAYUP, "train", CONFIG, f"--config.output={tmp_path / 'runs'}", wrong)
    assert_one_sentence(done, sentence)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_folder_in_the_way_is_found_before_anything_starts(tmp_path, workers):
    path = made_run(tmp_path, "run")
    before = sorted(path.rglob("*"))
    place = (f"--config.output={tmp_path}", "--config.name=run", f"--workers={workers}")
    done = run(*LAYUP, "train", CONFIG, *place)
    assert_one_sentence(done, "must be new or empty, got one with an earlier run; use --overwrite")
    assert sorted(path.rglob("*")) == before


@linux
@pytest.mark.parametrize("seconds", [0.3, 1.0, 1.5, 2.0, 3.0])
def test_an_interrupt_while_a_run_is_prepared_is_silent(tmp_path, seconds):
    marker = uuid.uuid4().hex
    command = (*LAYUP, "train", CONFIG, f"--config.output={tmp_path}", f"--config.name={marker}")
    with interruptible(), started(*command, "--config.stop.steps=100000") as process:
        time.sleep(seconds)  # wherever it then is
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=50)
    assert (process.returncode, errors) == (130, "")
    folder = tmp_path / marker
    assert not folder.exists() or (folder / "summary.json").exists()
    assert_none_left(marker)


@linux
def test_an_interrupt_while_the_launcher_is_started_is_handled_by_it():
    words = [sys.executable, "-m", "layup_jax.launch", "2", sys.executable, "-c", "1 / 0"]
    code = f"""
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # as become_launcher does
os.kill(os.getpid(), signal.SIGINT)
os.execv({sys.executable!r}, {words!r})
"""
    with interruptible(), started(sys.executable, "-c", code) as process:
        _, errors = process.communicate(timeout=50)
    assert (process.returncode, errors) == (130, "")


def test_debug_adds_the_traceback():
    done = run(*LAYUP, "train", CONFIG, "--debug", "--config.sed=1")
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("layup: unknown key")


def test_help_shows_commands_and_overrides():
    done = run(*LAYUP, "--help")
    assert done.returncode == 0
    assert all(word in done.stdout for word in ("train", "doctor", "list", "mpirun -n 4", "srun"))
    done = run(*LAYUP, "train", "--help")
    assert done.returncode == 0
    words = ("--workers", "--overwrite", "--debug", "--data_dir", "--config.KEY=VALUE", "Ctrl-C")
    assert all(word in done.stdout for word in words)


def test_report_compares_runs_and_says_where(tmp_path):
    paths = [made_run(tmp_path, name) for name in ("one", "two")]
    outs = [tmp_path / "report.html", tmp_path / "numbers.csv"]
    done = run(*LAYUP, "report", *map(str, paths), *(f"--out={out}" for out in outs))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"report: {out}" for out in outs]
    assert all(out.stat().st_size > 0 for out in outs)


def test_list_prints_one_line_for_each_thing_to_choose():
    done = run(*LAYUP, "list", COLUMNS="200")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.strip() for line in done.stdout.splitlines()]
    titles = [line for line in lines if "--config." in line]
    assert [line.partition("  ")[0] for line in titles] == [
        *("algorithms", "topologies", "models", "data sets")
    ]
    for name in ("layup", "ring", "conv", "digits"):
        assert sum(line.startswith(f"{name} ") for line in lines) == 1


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("--config.model.name=con", "unknown config.model.name 'con'; did you mean 'conv'?"),
        ("--config.batch_size=900", "batch_size must be at most 718, one worker's share"),
    ],
)
def test_what_data_and_model_refuse_is_said_before_mpirun_starts(override, sentence):
    small = "--config.model.options={'channels': (4,), 'pooled': ()}"
    arguments = (small, override, "--workers=2")
    # An mpirun that started would write to a folder that cannot be made.
    done = run(*LAYUP, "train", CONFIG, *arguments, "--config.output=/dev/null/x")
    assert_one_sentence(done, sentence)


@pytest.mark.mpi
def test_bad_input_under_the_users_own_mpirun_is_said_once():
    for arguments, sentence in (
        (("train", CONFIG, "--workers=3"), "--workers must be the number of processes that mpirun"),
        (("train", CONFIG, "--config.sed=1"), "did you mean 'seed'?"),
        (("train", CONFIG, "--hosts=a"), "--hosts is for starting processes, got it in one that"),
        (("trian",), "did you mean 'train'?"),
    ):
        done = run(*MPIRUN, "-n", "2", *LAYUP, *arguments)
        assert done.returncode == 2
        assert done.stderr.count("layup: ") == 1, done.stderr
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr


RANK = """
import os, signal, sys, time
from mpi4py import MPI
from layup_jax.host import die_with_parent
die_with_parent(signal.SIGKILL)
if "stubborn" not in sys.argv:
    signal.signal(signal.SIGUSR1, lambda *_: sys.exit(130))
else:
    signal.signal(signal.SIGUSR1, lambda *_: print("asked", flush=True))
print("pid", os.getpid(), repr(sys.stdin.read()), flush=True)
if "2" in sys.argv:
    print("layup: wrong by", MPI.COMM_WORLD.rank, file=sys.stderr)
    sys.exit(2)
if "3" in sys.argv:
    sys.exit(3)
time.sleep(60)
"""


def launched(*arguments):
    return started(*LAUNCH, "2", sys.executable, "-c", RANK, *arguments)


@pytest.mark.mpi
def test_the_launcher_keeps_the_status_and_says_a_sentence_once():
    with launched("2") as process:
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert re.fullmatch(r"layup: wrong by [01]\n", errors)
    assert output.count("''") == 2  # standard input is empty
    with launched("3") as process:
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 3
    assert re.search(r"Exit code: +3", errors)  # a status of which nobody has spoken


@linux
@pytest.mark.mpi
@pytest.mark.parametrize("ending", ["SIGINT", "SIGTERM", "SIGKILL", "twice", "kill mpirun"])
def test_no_process_outlives_its_launcher(ending):
    marker = uuid.uuid4().hex
    number = getattr(signal, ending, signal.SIGINT)
    expected = -number if ending == "SIGKILL" else 128 + number
    with launched(marker, *(["stubborn"] if ending == "twice" else [])) as process:
        assert all(process.stdout.readline().startswith("pid") for _ in range(2))
        if ending == "kill mpirun":
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            os.kill(int(children[0]), signal.SIGKILL)
            expected = 128 + signal.SIGKILL
        else:
            process.send_signal(number)
        if ending == "twice":
            assert process.stdout.readline() == "asked\n"  # two signals at once would be one
            process.send_signal(number)
        _, errors = process.communicate(timeout=15)
    assert process.returncode == expected
    assert bool(errors) == (ending == "twice")
    assert not errors or re.fullmatch(
        "layup: ended at once, without a last evaluation; .*\n", errors
    )
    assert_none_left(marker)


@linux
@pytest.mark.mpi
@pytest.mark.slow
def test_ctrl_c_ends_a_run_that_keeps_its_results(tmp_path):
    marker = f"run-{uuid.uuid4().hex}"
    with started(
        *(*LAYUP, "train", CONFIG, "--workers=2", f"--config.name={marker}"),
        *(f"--config.output={tmp_path}", "--config.stop.steps=1000000"),
        *("--config.log_every_steps=1", "--config.partition=model", "--config.strategy.name=local"),
        "--config.model.options={'channels': (4,), 'pooled': ()}",
    ) as process:
        assert any(line.startswith("step ") for line in process.stdout)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert errors == ""
    assert "interrupted" in output
    assert (tmp_path / marker / "summary.json").is_file()
    assert_none_left(marker)


BANNER = b"""\
--------------------------------------------------------------------------
prterun detected that one or more processes exited with non-zero status,
thus causing the job to be terminated. The first process to do so was:

   Process name: [prterun-vm-32112@1,1]
   Exit code:    %d
--------------------------------------------------------------------------
"""


def heard(text, size, *, is_quiet=False):
    noise = Noise(is_quiet=lambda: is_quiet)
    chunks = [text[at : at + size] for at in range(0, len(text), size)]
    return b"".join(map(noise.pass_on, chunks)) + noise.rest()


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_noise_is_dropped_and_nothing_else(size):
    table = b"-" * 70 + b"\n| a table |\n" + b"-" * 70 + b"\nprterun is a word\n"
    race = b"[vm:1] PMIX ERROR: PMIX_ERR_UNREACH in file x.c at line 3146\n"
    race += (
        b"[vm:1] plm:ssh: Warning: setpgid(2,2) failed in parent with errno=Permission denied(13)\n"
    )
    said = b"Traceback:\nlayup: no\n"
    text = said + BANNER % 2 + race + table + BANNER % 1 + b"[1, 2]\nno newline"
    assert heard(text, size) == said + table + BANNER % 1 + b"[1, 2]\nno newline"
    assert heard(BANNER % 1, size, is_quiet=True) == b""
    rule, rest = (BANNER % 2).split(b"\n", 1)
    assert heard(rule + b"\n" + race + rest, size) == b""
    unfinished = (BANNER % 2)[:100]
    assert heard(unfinished, size) == unfinished


def test_a_progress_line_is_not_held_back():
    noise = Noise(is_quiet=lambda: False)
    assert noise.pass_on(b"step 3\r") == b"step 3\r"
    assert noise.pass_on(b"layup: a") == b""
    assert noise.pass_on(b" b 1\nlayup: a b 2\nlayup: c\n") == b"layup: a b 1\nlayup: c\n"


def test_mpirun_of_each_vendor_gets_its_own_flags():
    assert mpirun_command(Mpirun("m", "Open MPI", (5, 0, 11)), 3, ["x"]) == (
        ["m", "-n", "3", "--oversubscribe", "--bind-to", "none", "--stdin", "none", "x"]
    )
    assert "--quiet" in mpirun_command(Mpirun("m", "Open MPI", (4, 1, 6)), 3)
    assert mpirun_command(Mpirun("m", "MPICH", (4, 2)), 3) == ["m", "-n", "3", "-bind-to", "none"]


def test_an_mpirun_of_another_mpi_is_refused():
    check_pair(Mpirun("m", "MPICH", (4, 2)), "Intel MPI")
    with pytest.raises(TransportError, match="must be of one MPI, got m of MPICH"):
        check_pair(Mpirun("m", "MPICH", (4, 2)), "Open MPI")


@pytest.mark.parametrize(
    ("environ", "world"),
    [
        ({}, None),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "4"}, World(1, 4)),
        ({"PMI_RANK": "0", "PMI_SIZE": "1"}, World(0, 1)),
        ({"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "8", "PMIX_RANK": "3"}, World(3, 8)),
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}, None),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, None),  # an sbatch script, not yet srun
    ],
)
def test_the_job_is_found_in_the_environment(environ, world):
    assert find_world(environ) == world


HOST = """
import os
from layup_jax.host import allowed_cores, prepare_host
before = allowed_cores()
report = prepare_host({bind!r}, 1, {size})
from jax._src import xla_bridge
assert not xla_bridge.backends_are_initialized()
assert report.num_cores == len(before)
assert report.cores is None or allowed_cores() == list(report.cores)
assert not xla_bridge._CPU_ENABLE_ASYNC_DISPATCH.value
print(report.cores is not None, report.platform, report.dispatch, report.is_crowded)
"""


@linux
@pytest.mark.parametrize(("bind", "size", "bound"), [("auto", 64, True), ("none", 64, False)])
def test_a_worker_prepares_its_own_process_without_starting_jax(bind, size, bound):
    done = run(
        *(sys.executable, "-c", HOST.format(bind=bind, size=size)),
        JAX_PLATFORMS="cpu",
        SLURM_CPU_BIND_TYPE="none",
    )
    assert done.returncode == 0, done.stderr
    crowded = len(os.sched_getaffinity(0)) < size
    assert done.stdout.split() == [str(bound), "cpu", "synchronous", str(crowded)]
