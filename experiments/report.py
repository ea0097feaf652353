"""What is made of measurements: results.json, and from it alone a figure and the table of a README.

    write_results(out, {..., "environment": environment(seed=0, smoke=False, seconds=60.0)})
    publish(pictures, out)             # out/figure.png; the README too, if out is a folder beside it

A plot.py offers `draw(results, figure)` and `table(results)`, and redraws when run by itself.
"""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from layup_jax.errors import LayupError, reason
from layup_jax.host import jax_platform
from layup_jax.metrics import describe_environment

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Results = Mapping[str, Any]

INK, FAINT = "#1a1a1a", "#8c8c8c"
# Told apart by lightness and hatch, so that they read in black and white; Okabe and Ito's hues.
BAR_LOOKS: tuple[dict[str, Any], ...] = (
    {"color": "#f2f2f2", "edgecolor": INK},
    {"color": "#56b4e9", "edgecolor": INK, "hatch": "///"},
    {"color": "#e69f00", "edgecolor": INK, "hatch": "..."},
    {"color": "#0b4f7a", "edgecolor": INK},
)
_NAMED = {"jax": "jax", "flax": "flax", "mpi4jax": "mpi4jax", "openmpi": "Open MPI"}
_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "legend.frameon": False,
    "legend.fontsize": 9,
}


class Pictures(NamedTuple):
    """What an experiment makes of its results.

    Attributes:
      folder: of the experiment; holds README.md.
      draw: puts the figure onto an empty one.
      table: the README's table, in Markdown.
    """

    folder: Path
    draw: Callable[[Results, Figure], None]
    table: Callable[[Results], str]


def median_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Median over rounds of the ratio within a round."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def over_seeds(runs: Sequence[Any]) -> dict[str, Any]:
    """Mean of each number, and under `spread` the sample standard deviations.

    Args:
      runs: NamedTuples of one kind. Numbers that are None are left out; where all are, so is the mean.
    """
    means: dict[str, Any] = {}
    spread: dict[str, Any] = {}
    for name in runs[0]._fields:
        values = [getattr(run, name) for run in runs if getattr(run, name) is not None]
        means[name] = statistics.fmean(values) if values else None
        spread[name] = statistics.stdev(values) if len(values) > 1 else None
    return {**means, "spread": spread, "runs": [run._asdict() for run in runs]}


def with_spread(each: Mapping[str, Any], key: str, form: str) -> str:
    """One number of `over_seeds`: "mean ± deviation", or "never"; of how many runs, if not of all."""
    if each[key] is None:
        return "never"
    mean, spread = format(each[key], form), each["spread"][key]
    text = mean if spread is None else f"{mean} ± {format(spread, form)}"
    known, runs = sum(run[key] is not None for run in each["runs"]), len(each["runs"])
    return text if known == runs else f"{text} ({known} of {runs})"


def environment(*, seed: int, smoke: bool, seconds: float) -> dict[str, Any]:
    """Where and how long: enough to judge a number by, nothing about whose machine it is.

    To be called when all is measured: where there is an accelerator, this process takes it.
    """
    described = describe_environment(seed, datetime.now(UTC))._asdict()
    hardware = {"cpu": _cpu(), "device": _device()}
    return {**described, **hardware, "smoke": smoke, "seconds": round(seconds, 1)}


def write_results(out: Path, results: Results) -> None:
    """Replaces out/results.json as a whole."""
    temporary = out / "results.json.temporary"
    temporary.write_text(json.dumps(results, indent=2, allow_nan=False) + "\n")
    os.replace(temporary, out / "results.json")


def read_results(out: Path) -> Results:
    """The inverse of `write_results`.

    Raises:
      LayupError: there are none.
    """
    try:
        return json.loads((out / "results.json").read_text())
    except (OSError, ValueError) as error:
        raise LayupError(
            f"'{out}' must hold a results.json, got '{reason(error)}'; run the experiment with "
            f"--out={out}"
        ) from error


def earlier(out: Path, *, smoke: bool) -> dict[str, Any]:
    """What an earlier run into the same folder has measured, if both are smokes or neither is."""
    if not (out / "results.json").exists():
        return {}
    results = dict(read_results(out))
    return results if results.pop("environment", {}).get("smoke") == smoke else {}


def beside(
    found: Mapping[str, Any], measured: Mapping[str, Any], names: Iterable[str]
) -> dict[str, Any]:
    """What was measured now and, of the rest, what was found before; in the order of the names."""
    both = {**found, **measured}
    return {name: both[name] for name in names if name in both}


def publish(pictures: Pictures, out: Path) -> None:
    """Draws the results in `out`; fills in the README beside it, between the markers of that name."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    results = read_results(out)
    with rc_context(_STYLE):
        figure = Figure(figsize=(10.0, 4.4), dpi=150, layout="constrained")
        pictures.draw(results, figure)
        figure.savefig(out / "figure.png")
    if out.resolve().parent == pictures.folder.resolve():
        text = f"{pictures.table(results)}\n\n{_circumstances(results['environment'])}"
        fill(pictures.folder / "README.md", text, out.resolve().name)


def fill(readme: Path, text: str, name: str = "results") -> None:
    """Replaces what stands between the two markers of that name in a README."""
    before = readme.read_text()
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    between = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    after, count = between.subn(lambda _: f"{begin}\n{text}\n{end}", before)
    if count != 1:
        raise LayupError(f"{readme} must hold one pair of markers, got {count}; add {begin}{end}")
    readme.write_text(after)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: first column to the left, numbers to the right."""
    align = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, align, *rows))


def redraw(pictures: Pictures) -> int:
    """`python -m experiments.NAME.plot DIR`: the figure and the table again, nothing measured."""
    if len(sys.argv) != 2:
        sys.stderr.write("expected the folder of a results.json as the one argument\n")
        return 2
    try:
        publish(pictures, Path(sys.argv[1]))
    except LayupError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _circumstances(environment: Mapping[str, Any]) -> str:
    versions = environment["versions"]
    smoke = "**A smoke run: these numbers prove nothing.** " if environment["smoke"] else ""
    device = f"{environment['device']}, " if environment.get("device") else ""
    packages = [f"{name} {versions[key]}" for key, name in _NAMED.items() if versions[key]]
    if environment.get("xla_flags"):
        packages.append(f"`XLA_FLAGS={environment['xla_flags']}`")
    return (
        f"{smoke}Measured {environment['started'][:10]} in {_lasted(environment['seconds'])}: "
        f"{device}{environment['cpu']}, {environment['processors']} cores, "
        f"Python {environment['python']}, {', '.join(packages)}."
    )


def _lasted(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} s"


def _device() -> str | None:
    """Of an accelerator, as JAX calls it; None where there is none."""
    if jax_platform() == "cpu":
        return None
    import jax

    return jax.local_devices()[0].device_kind


def _cpu() -> str:
    try:
        names = re.findall(
            r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE
        )
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
