"""How an experiment is run: its command line, its rounds, and the processes it starts.

    options = arguments("step_overhead", __doc__, rounds=9).parse_args(argv)
    times = paired_rounds({"layer": ..., "fused": ...}, rounds=9, seed=0)
    median_ratio(times["layer"], times["fused"])

Everything that goes wrong is one sentence and exit status 2, and no process stays behind.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

from experiments import report
from layup_jax.errors import LayupError, reason
from layup_jax.interrupts import signals_held
from layup_jax.metrics import RunFolder
from layup_jax.metrics.records import RunSummary

K = TypeVar("K", bound=Any)  # sorts
T = TypeVar("T")
_ROOT = Path(__file__).resolve().parents[1]
_START_SECONDS = 300.0  # imports, compilation and the end of a run, on a slow machine
_GRACE_SECONDS = 30.0  # more than the launcher of `layup train` gives its workers
SMOKE_ROUNDS = 2


class ExperimentError(LayupError):
    """An experiment that cannot be run."""


class Experiment(NamedTuple):
    """One folder of experiments/.

    Attributes:
      parser: its command line, from `arguments`.
      measure: options -> the content of results.json, without the environment.
      pictures: what is made of results.json.
    """

    parser: argparse.ArgumentParser
    measure: Callable[[argparse.Namespace], Mapping[str, Any]]
    pictures: report.Pictures


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence."""

    def error(self, message: str) -> NoReturn:
        """Raises ExperimentError."""
        raise ExperimentError(f"{message}; see 'python -m {self.prog} --help'")


def arguments(name: str, description: str | None, *, rounds: int) -> argparse.ArgumentParser:
    """The options that all experiments have: out, smoke, rounds, seed."""
    parser = Parser(f"experiments.{name}", description=description, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, metavar="DIR", help="for results.json; must be given")
    parser.add_argument("--smoke", action="store_true", help="small, short, and proves nothing")
    parser.add_argument("--rounds", type=positive(int), metavar="N", help=f"default: {rounds}")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of orders and data")
    parser.set_defaults(default_rounds=rounds)
    return parser


def positive(kind: Callable[[str], T]) -> Callable[[str], T]:
    """A type of arguments: numbers above 0."""

    def parse(text: str) -> T:
        value = kind(text)
        if not value > 0:  # type: ignore[operator]
            raise argparse.ArgumentTypeError(f"must be above 0, got {text}")
        return value

    parse.__name__ = getattr(kind, "__name__", "number")
    return parse


def names_among(known: Collection[str]) -> Callable[[str], tuple[str, ...]]:
    """A type of arguments: some of these, with commas between them, or `none`."""

    def parse(text: str) -> tuple[str, ...]:
        names = () if text == "none" else tuple(text.split(","))
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"must be among {', '.join(known)}, got '{name}'")
        return names

    return parse


def main(experiment: Experiment, argv: Sequence[str] | None = None) -> int:
    """Measures, writes, draws; the exit status."""
    end_on_sigterm()
    try:
        options = experiment.parser.parse_args(argv)
        if options.out is None:  # not by argparse, which would name it before an unknown option
            experiment.parser.error("--out must name a folder for results.json, got none")
        if options.rounds is None:
            options.rounds = SMOKE_ROUNDS if options.smoke else options.default_rounds
        with _writable(options.out):
            start = time.monotonic()
            measured = experiment.measure(options)
            environment = report.environment(
                seed=options.seed, smoke=options.smoke, seconds=time.monotonic() - start
            )
            report.write_results(options.out, {**measured, "environment": environment})
            report.publish(experiment.pictures, options.out)
    except LayupError as error:
        sys.stderr.write(f"{experiment.parser.prog}: {' '.join(str(error).split())}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def paired_rounds(
    measures: Mapping[K, Callable[[int], T]], *, rounds: int, seed: int
) -> dict[K, list[T]]:
    """Measures everything once a round, in random order, so that a slow minute hits all alike.

    Args:
      measures: each is given the seed of its round.
      rounds: how many.
      seed: of the order, and of the first round; each round after it has the next one.

    Returns:
      By name, what was measured, in the order of rounds.
    """
    order = random.Random(seed)
    values: dict[K, list[T]] = {name: [] for name in measures}
    for round_seed in range(seed, seed + rounds):
        for name in order.sample(sorted(measures), len(measures)):
            values[name].append(measures[name](round_seed))
    return values


def run_process(
    command: Sequence[str],
    *,
    what: str,
    timeout_seconds: float,
    compiled: Path | None = None,
) -> str:
    """Runs one process from the repository's root; it is gone on return, whatever happens.

    Args:
      command: program and arguments.
      what: names it in messages.
      timeout_seconds: after which it is ended.
      compiled: folder in which processes find what others have compiled; None compiles afresh.

    Returns:
      Its standard output.

    Raises:
      ExperimentError: it failed, with its last words, or took too long.
    """
    pipe = subprocess.PIPE
    environment = {**os.environ, **_compilation(compiled)}
    with _running(command, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            output, errors = process.communicate(timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            raise ExperimentError(
                f"{what} must end within {timeout_seconds:.0f} s, got no end; try a quieter machine"
            ) from None
    if process.returncode:
        lines = errors.strip().splitlines() or ["no message"]
        if process.returncode < 0:  # it crashed, and its last words need not be the cause
            sys.stderr.write(errors)
        raise ExperimentError(f"{what} ended with status {process.returncode}: {lines[-1]}")
    return output


def run_to_end(command: Sequence[str]) -> int:
    """Runs a process that says for itself what it does; it is gone on return, whatever happens.

    Returns:
      Its exit status.
    """
    with _running(command) as process:
        return process.wait()


def end_on_sigterm() -> None:
    """From now on SIGTERM ends this process as an exception does."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def train(
    config: str, overrides: Sequence[str], *, folder: Path, workers: int, seconds: float
) -> RunSummary:
    """One run of `layup train`: what one of its workers does is what users get.

    Args:
      config: path of the configuration, and what is selected in it.
      overrides: as on the command line; they give the name of the run. "--hosts=virtual" may be one,
        within `layup_jax.virtual_cluster.virtual_hosts`.
      folder: that all runs of an experiment share, with what they have compiled.
      workers: to start.
      seconds: that training may take; start and end have their own.

    Raises:
      ExperimentError: it did not finish.
    """
    name = "run"
    what = " ".join(["layup train", f"--config={config}", *overrides])
    sys.stderr.write(f"{what}\n")
    command = [sys.executable, "-m", "layup_jax.cli", "train", f"--config={config}"]
    command += [f"--workers={workers}", f"--config.output={folder}", f"--config.name={name}"]
    run_process(
        [*command, "--overwrite", *overrides],
        what=what,
        timeout_seconds=seconds + _START_SECONDS,
        compiled=folder / "compiled",
    )
    summary = RunFolder.open(folder / name).read_summary()
    if summary is None or summary.status != "finished":
        status = "no summary" if summary is None else f"'{summary.status}'"
        raise ExperimentError(f"{what} must finish, got {status}; run it by hand to see why")
    return summary


def _compilation(folder: Path | None) -> dict[str, str]:
    if folder is None:
        return {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    return {
        "JAX_COMPILATION_CACHE_DIR": str(folder),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


@contextlib.contextmanager
def _running(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """A process in a session of its own; it is ended on leaving, whatever happens."""
    process = None
    try:
        with signals_held():  # a process that is being started could not be ended
            process = subprocess.Popen(
                command, cwd=_ROOT, stdin=subprocess.DEVNULL, start_new_session=True, **options
            )
        yield process
    finally:
        if process is not None:
            _end(process)


def _end(process: subprocess.Popen[Any]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.communicate(timeout=_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@contextlib.contextmanager
def _writable(out: Path) -> Iterator[None]:
    """A folder for results; if it is new and stays empty, it goes again."""
    is_new = not out.exists()
    _check_writable(out)
    try:
        yield
    finally:
        if is_new and not any(out.iterdir()):
            out.rmdir()


def _check_writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ExperimentError(
            f"--out must be a folder that can be written, got '{out}' ({reason(error)}); "
            "use another one"
        ) from error
