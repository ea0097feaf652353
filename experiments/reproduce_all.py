"""Runs every experiment, one after the other, and writes every table that is made of their results.

    python -m experiments.reproduce_all                # hours; replaces all committed results
    python -m experiments.reproduce_all --smoke        # minutes; shows that all run, keeps nothing
    python -m experiments.reproduce_all --only mfu,stragglers

What fails is said at the end, and does not keep the others from running; the exit status is then 1. What
needs what this machine lacks, as virtual hosts, is left out, and said as well.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from experiments import claims, tables
from experiments.harness import ExperimentError, Parser, end_on_sigterm, run_to_end
from layup_jax.errors import LayupError, nearest
from layup_jax.virtual_host import check_possible

_FOLDER = Path(__file__).parent
_NEEDS: Mapping[str, Callable[[], None]] = {"slow_network": check_possible}


class Outcome(NamedTuple):
    """Of one experiment.

    Attributes:
      name: of its folder.
      status: its exit status.
      seconds: that it took.
      obstacle: why it was left out; empty if it was not.
    """

    name: str
    status: int
    seconds: float
    obstacle: str = ""

    def __str__(self) -> str:
        if self.obstacle:
            return f"{self.name}: left out: {self.obstacle}"
        verdict = "done" if self.status == 0 else f"failed with status {self.status}"
        return f"{self.name}: {verdict} after {self.seconds:.0f} s"


def names() -> list[str]:
    """All experiments: folders with a program, in alphabetical order."""
    return sorted(file.parent.name for file in _FOLDER.glob("*/__main__.py"))


def reproduce(chosen: Sequence[str], *, smoke: bool) -> list[Outcome]:
    """Runs these; results of a smoke go to a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="layup-reproduce-") as folder:
        return [
            _run(name, Path(folder) / name if smoke else _FOLDER / name / "results", smoke=smoke)
            for name in chosen
        ]


def _run(name: str, out: Path, *, smoke: bool) -> Outcome:
    try:
        _NEEDS.get(name, lambda: None)()
    except LayupError as error:
        return Outcome(name, 0, 0.0, str(error))
    command = [sys.executable, "-m", f"experiments.{name}", f"--out={out}"]
    start = time.monotonic()
    status = run_to_end([*command, *(["--smoke"] if smoke else [])])
    outcome = Outcome(name, status, time.monotonic() - start)
    sys.stderr.write(f"{outcome}\n")
    return outcome


def _parser() -> Parser:
    parser = Parser("experiments.reproduce_all", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--smoke", action="store_true", help="small, short, and keeps nothing")
    parser.add_argument("--only", metavar="A,B", help="these experiments; default: all")
    return parser


def _chosen(only: str | None) -> list[str]:
    chosen = names() if only is None else only.split(",")
    for name in chosen:
        if name not in names():
            raise ExperimentError(f"unknown experiment '{name}'; {nearest(name, names())}")
    return chosen


def main(argv: Sequence[str] | None = None) -> int:
    """Runs, writes tables, says what became of each; the exit status."""
    end_on_sigterm()
    try:
        options = _parser().parse_args(argv)
        outcomes = reproduce(_chosen(options.only), smoke=options.smoke)
    except ExperimentError as error:
        sys.stderr.write(f"experiments.reproduce_all: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    statuses = [outcome.status for outcome in outcomes]
    if not options.smoke:
        statuses += [tables.main([]), claims.main()]
    sys.stdout.writelines(f"{outcome}\n" for outcome in outcomes)
    return int(any(statuses))


if __name__ == "__main__":
    sys.exit(main())
