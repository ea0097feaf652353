"""Fills the README: the tables of all experiments from their committed results, and what commands print.

python -m experiments.tables                               # the section "Measured"
python -m experiments.tables demo OUTPUT                   # what `make demo` printed, and its figure
python -m experiments.tables test OUTPUT                   # what `make test` printed, in short
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from experiments.algorithms.plot import PICTURES as ALGORITHMS
from experiments.pd_asgd.plot import PICTURES as PD_ASGD
from experiments.pd_asgd.plot import brief
from experiments.report import Pictures, fill, read_results
from experiments.step_overhead.plot import PICTURES as STEP_OVERHEAD
from experiments.throughput.plot import PICTURES as THROUGHPUT
from layup_jax.errors import LayupError

_ROOT = Path(__file__).resolve().parents[1]
_README = _ROOT / "README.md"
_DETAIL = re.compile(  # a line per test file, and what names the machine
    r"tests/\S+ [.sxFE]|\s*/|(real|user|sys)\s|\s*[.sxFE]+ +\["
    r"|platform |rootdir: |configfile: |testpaths: |timeout|plugins: |cachedir: |hypothesis "
    r"|created: |\d+ workers |=+ test session|collected "
)
_TITLES: tuple[tuple[str, Pictures], ...] = (
    (
        "Every algorithm on the digits with four workers, mean ± standard deviation of 5 seeds",
        ALGORITHMS,
    ),
    ("Samples per second of all workers together", THROUGHPUT),
    ("PD-ASGD: forward and backward passes in threads of their own", PD_ASGD._replace(table=brief)),
    ("One training step layer by layer, over the same step as one jitted call", STEP_OVERHEAD),
)


def tables() -> str:
    """One table for each experiment."""
    parts = []
    for title, pictures in _TITLES:
        results = read_results(pictures.folder / "results")
        folder = pictures.folder.relative_to(_ROOT)
        parts.append(f"**{title}** ([{folder}]({folder})):\n\n{pictures.table(results)}")
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


def main(arguments: list[str]) -> int:
    """Fills one part of the README; the exit status."""
    try:
        if not arguments:
            fill(_README, tables())
        elif len(arguments) == 2 and arguments[0] == "demo":
            fill(_README, printed(Path(arguments[1])), name="demo")
            shutil.copy(_ROOT / "runs" / "demo" / "figure.png", _ROOT / "docs" / "demo.png")
        elif len(arguments) == 2 and arguments[0] == "test":
            fill(_README, printed_by_tests(Path(arguments[1])), name="test")
        else:
            raise LayupError(f"expected nothing, 'demo FILE' or 'test FILE', got {arguments}")
    except (LayupError, OSError) as error:
        sys.stderr.write(f"experiments.tables: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
