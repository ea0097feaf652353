"""Fills the README: the tables of all experiments from their committed results, and what commands print.

python -m experiments.tables                               # the section "Measured"
python -m experiments.tables demo OUTPUT                   # what `make demo` printed, and its figure
python -m experiments.tables test OUTPUT                   # what `make test` printed, in short
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from experiments.algorithms import plot as algorithms
from experiments.mfu import plot as mfu
from experiments.pd_asgd import plot as pd_asgd
from experiments.report import Pictures, Results, fill, read_results
from experiments.slow_network import plot as slow_network
from experiments.step_overhead import plot as step_overhead
from experiments.stragglers import plot as stragglers
from experiments.throughput import plot as throughput
from experiments.time_to_accuracy import plot as time_to_accuracy
from layup_jax.errors import LayupError

_ROOT = Path(__file__).resolve().parents[1]
_README = _ROOT / "README.md"
_DETAIL = re.compile(  # a line per test file, and what names the machine
    r"tests/\S+ [.sxFE]|\s*/|(real|user|sys)\s|\s*[.sxFE]+ +\["
    r"|platform |rootdir: |configfile: |testpaths: |timeout|plugins: |cachedir: |hypothesis "
    r"|created: |\d+ workers |=+ test session|collected "
)


class Part(NamedTuple):
    """What the README says of an experiment: a title, and the text that its results make.

    Attributes:
      results: the folder of them, beside the experiment's README.
    """

    title: str
    pictures: Pictures
    text: Callable[[Results], str]
    results: str = "results"


_PARTS = (
    Part(
        "Every algorithm on the digits with four workers, mean ± standard deviation of 5 seeds",
        algorithms.PICTURES,
        algorithms.table,
    ),
    Part("Slow networks", slow_network.PICTURES, slow_network.brief),
    Part("Slow workers", stragglers.PICTURES, stragglers.brief),
    Part("Time to accuracy", time_to_accuracy.PICTURES, time_to_accuracy.brief),
    Part("PD-ASGD, passes in threads of their own", pd_asgd.PICTURES, pd_asgd.brief),
    Part("Samples per second", throughput.PICTURES, throughput.brief),
    Part("A step layer by layer over one jitted call", step_overhead.PICTURES, step_overhead.brief),
    Part("The same on a GPU", step_overhead.PICTURES, step_overhead.brief, "results_gpu"),
    Part("Use of the hardware", mfu.PICTURES, mfu.brief),
)


def tables() -> str:
    """A part for each experiment that has results."""
    parts = []
    for part in _PARTS:
        results = part.pictures.folder / part.results
        if (results / "results.json").exists():
            folder = part.pictures.folder.relative_to(_ROOT)
            text = part.text(read_results(results))
            gap = "\n\n" if text.startswith("|") else " "
            parts.append(f"**{part.title}** ([{folder}]({folder})):{gap}{text}")
    return "\n\n".join(parts)


def printed(path: Path) -> str:
    """A block of text that a command printed, without blank lines and trailing blanks."""
    lines = [line.rstrip() for line in path.read_text().splitlines()]
    kept = [line for line in lines if line]
    return "\n".join(["```", *kept, "```"])


def printed_by_tests(path: Path) -> str:
    """What `make test` printed, cut to the commands, their verdicts and the summary."""
    block = printed(path).splitlines()
    return "\n".join(line for line in block if not _DETAIL.match(line))


def main() -> int:
    """Fills one part of the README; the exit status."""
    parser = argparse.ArgumentParser("experiments.tables", description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="?", choices=("demo", "test"), help="default: the tables")
    parser.add_argument("output", nargs="?", type=Path, help="what that command printed")
    options = parser.parse_args()
    if (options.part is None) != (options.output is None):
        parser.error(f"{options.part} needs the file of what make {options.part} printed")
    try:
        if options.part is None:
            fill(_README, tables())
        elif options.part == "test":
            fill(_README, printed_by_tests(options.output), name="test")
        else:
            fill(_README, printed(options.output), name="demo")
            shutil.copy(_ROOT / "runs" / "demo" / "figure.png", _ROOT / "docs" / "demo.png")
    except (LayupError, OSError) as error:
        sys.stderr.write(f"experiments.tables: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
