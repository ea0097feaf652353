"""The command line: layup train | doctor | list | replay | report.

    layup train --config=configs/digits_layup.py --workers=4 --config.seed=1

Exit status: 0 done; 2 something the user can mend, said in one line on standard error; 1 a fault of
the program, with its traceback (or what `layup doctor` found missing); 130 interrupted.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from types import FrameType, ModuleType
from typing import NamedTuple, NoReturn

from layup_jax import launch
from layup_jax.arguments import parse
from layup_jax.config import RunConfig, validated
from layup_jax.config_file import Override, load_config, overridden
from layup_jax.errors import ConfigError, LayupError, PeerFailedError, TransportError
from layup_jax.host import HOSTS_VARIABLE, die_with_parent
from layup_jax.hosts import Hosts, check_reachable, find_hosts
from layup_jax.interrupts import INTERRUPTED, interrupt, leave_at_once
from layup_jax.world import World, find_world

_LEAVE_SECONDS = 10.0


class Start(NamedTuple):
    """How this process was started.

    Attributes:
      argv: the arguments, without the program.
      environ: from before any import wrote to it.
      interrupts: every Ctrl-C since then.
    """

    argv: list[str]
    environ: dict[str, str]
    interrupts: list[int]

    @property
    def world(self) -> World | None:
        """The job that this process is a part of."""
        return find_world(self.environ)

    def check_interrupts(self) -> None:
        """Raises the KeyboardInterrupt that a callback of some library has swallowed."""
        if self.interrupts:
            raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; the exit status."""
    faulthandler.enable()  # a crash in compiled code says where each thread was
    interrupts = _noted_interrupts()
    start = Start(list(sys.argv[1:] if argv is None else argv), dict(os.environ), interrupts)
    status = _attempt(start)
    if status and start.world is not None:
        _leave_together(status)
    return status


def _attempt(start: Start) -> int:
    try:
        options = _parse_once(start)
        return _COMMANDS[options.command](options, start)
    except LayupError as error:
        if "--debug" in start.argv:
            traceback.print_exc()
        if not isinstance(error, PeerFailedError):  # the worker that failed has said why
            sys.stderr.write(f"layup: {' '.join(str(error).split())}\n")
        return 2
    except KeyboardInterrupt:
        leave_at_once()
    except Exception:
        if start.interrupts:  # an import, say, has made another error of it
            leave_at_once()
        traceback.print_exc()
        return 1


def _noted_interrupts() -> list[int]:
    """Gets every Ctrl-C from now on, of which KeyboardInterrupt is raised as ever.

    Where that cannot reach anybody (in a callback of the garbage collector's) it says nothing.
    """
    noted: list[int] = []
    tell = sys.unraisablehook
    sys.unraisablehook = lambda each: None if each.exc_type is KeyboardInterrupt else tell(each)

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)
        interrupt(frame)

    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, note)
    return noted


def _parse_once(start: Start) -> argparse.Namespace:
    """All ranks have one command line; the first one says what is wrong with it."""
    try:
        return parse(start.argv)
    except ConfigError:
        if start.world is not None and start.world.rank > 0:
            raise PeerFailedError("worker 0 failed first") from None
        raise


def _train(options: argparse.Namespace, start: Start) -> int:
    if start.world is not None:
        return _train_in_world(start.world, options, start)
    config = _configured(options)
    hosts = None if options.hosts is None else find_hosts(options.hosts)
    workers = _count_workers(options.workers, hosts)
    if workers > 1 or hosts is not None:
        _launch(config, workers, hosts, start, overwrite=options.overwrite)
    launch.mpi_library()
    return _run(config, options.overwrite, start)


def _count_workers(wanted: int | None, hosts: Hosts | None) -> int:
    slots = 1 if hosts is None else hosts.slots
    if wanted is not None and hosts is not None and wanted > slots:
        raise ConfigError(
            f"--workers must be at most the number of slots of all hosts, {slots}, got {wanted}; "
            "lower it, or name more hosts or slots"
        )
    return slots if wanted is None else wanted


def _launch(
    config: RunConfig, workers: int, hosts: Hosts | None, start: Start, *, overwrite: bool
) -> NoReturn:
    """Finds what is wrong while one process can say so, then becomes the launcher."""
    mpirun = launch.find_mpirun()
    launch.check_pair(mpirun, launch.mpi_library())
    if hosts is not None:
        launch.check_several_hosts(mpirun)
        check_reachable(hosts)
    import jax

    jax.config.update("jax_platforms", "cpu")  # the workers want the accelerators
    jax.config.update("jax_disable_most_optimizations", True)  # compiles three times as fast
    from layup_jax import training

    # The first of several hosts makes the run folder, and may not share this one's disk.
    training.check(config, workers, overwrite=overwrite or hosts is not None)
    start.check_interrupts()
    launch.become_launcher(workers, hosts, [*_own_command(), *start.argv], start.environ)


def _train_in_world(world: World, options: argparse.Namespace, start: Start) -> int:
    """One rank; all learn of an error before training, and one of them says it."""
    if "OMPI_COMM_WORLD_RANK" in os.environ:
        die_with_parent(signal.SIGKILL)  # Open MPI leaves ranks behind when mpirun is killed
    for number in (signal.SIGINT, signal.SIGUSR1):  # SIGUSR1: see launch.py
        signal.signal(number, lambda *_: os._exit(INTERRUPTED))  # until there is something to lose
    _check_world(world)
    config = _agreed(lambda: _configured_for(world, options))
    return _run(config, options.overwrite, start)


def _run(config: RunConfig, overwrite: bool, start: Start) -> int:
    """Trains; status 130 of a run that was interrupted, though its results are written."""
    from layup_jax import training

    start.check_interrupts()
    run = training.train_under_mpi(config, overwrite=overwrite)
    return INTERRUPTED if run.summary.status == "interrupted" else 0


def _configured(options: argparse.Namespace) -> RunConfig:
    overrides = list(options.overrides)
    if options.data_dir is not None:
        overrides.append(Override("data.data_dir", options.data_dir))
    return validated(overridden(load_config(options.config), overrides))


def _configured_for(world: World, options: argparse.Namespace) -> RunConfig:
    if options.workers not in (None, world.size):
        raise ConfigError(
            f"--workers must be the number of processes that mpirun or srun started, {world.size}, "
            f"got {options.workers}; leave --workers out"
        )
    if options.hosts is not None and HOSTS_VARIABLE not in os.environ:
        raise ConfigError(
            "--hosts is for starting processes, got it in one that mpirun or srun has started; "
            "leave it out"
        )
    return _configured(options)


def _check_world(world: World) -> None:
    """Refuses processes that do not find each other: each would train alone."""
    size = _mpi().COMM_WORLD.Get_size()
    if size != world.size:
        raise TransportError(
            f"this job has {world.size} processes, but MPI sees {size}; start them with the mpirun "
            "of mpi4py's own MPI ('layup doctor' names it) or with srun --mpi=pmix"
        )


def _agreed(configure: Callable[[], RunConfig]) -> RunConfig:
    """Configures every rank; if that fails, the first rank where it did says why."""
    config, error = None, None
    try:
        config = configure()
    except ConfigError as caught:
        error = caught
    world = _mpi().COMM_WORLD
    failed = world.allgather(error is not None)
    if error is not None and failed.index(True) == world.Get_rank():
        raise error
    if config is None or True in failed:
        raise PeerFailedError(f"worker {failed.index(True)} failed first")
    return config


def _leave_together(status: int) -> None:
    """Waits for the other ranks to come here; aborts a job whose other ranks do not."""
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        world = _mpi().COMM_WORLD
    except TransportError:
        return
    together = world.Ibarrier()
    deadline = time.monotonic() + _LEAVE_SECONDS
    while not together.Test():
        if time.monotonic() > deadline:
            world.Abort(status)
        time.sleep(0.01)


def _mpi() -> ModuleType:
    try:
        from layup_jax.transport.library import MPI
    except (ImportError, RuntimeError) as error:
        raise TransportError(
            f"MPI must load, got '{str(error).splitlines()[0]}'; run 'make env' again"
        ) from error
    return MPI


def _doctor(options: argparse.Namespace, start: Start) -> int:
    del options, start
    from layup_jax import doctor

    return doctor.main([])


def _list(options: argparse.Namespace, start: Start) -> int:
    del options, start
    from layup_jax import listing

    return listing.main()


def _replay(options: argparse.Namespace, start: Start) -> int:
    del start
    from layup_jax.metrics import RunFolder
    from layup_jax.metrics.console import open_console
    from layup_jax.replay import replay_run

    replayed = replay_run(RunFolder.open(options.folder), options.rank)
    open_console().print(
        f"rank {options.rank}: {replayed.steps:,} steps, {replayed.writes:,} writes, "
        "parameters equal to the last bit",
        highlight=False,
    )
    return 0


def _report(options: argparse.Namespace, start: Start) -> int:
    del start
    from layup_jax.metrics.console import open_console
    from layup_jax.report import write_report

    outs = options.out or ["report.html"]
    write_report(options.folders, outs, mixed=options.mixed)
    for out in outs:
        open_console().print(f"report: {out}", markup=False, highlight=False, soft_wrap=True)
    return 0


def _own_command() -> list[str]:
    """How this program was started, without its arguments."""
    if os.path.basename(sys.argv[0]) == "layup" and os.path.isfile(sys.argv[0]):
        return [sys.executable, sys.argv[0]]
    return [sys.executable, "-m", "layup_jax.cli"]


_COMMANDS: dict[str, Callable[[argparse.Namespace, Start], int]] = {  # see `arguments.COMMANDS`
    "train": _train,
    "doctor": _doctor,
    "list": _list,
    "replay": _replay,
    "report": _report,
}


if __name__ == "__main__":
    sys.exit(main())
