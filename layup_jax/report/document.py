"""A report in its files: what is written is decided by the end of their names.

write_report(["runs/a", "runs/b"], ["report.html", "report.csv"])
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from layup_jax.errors import ReportError, reason
from layup_jax.report.comparison import Comparison, check_comparable, compare, read_runs
from layup_jax.report.page import make_page
from layup_jax.report.table import make_table, to_csv, to_markdown

_MAKERS: Mapping[str, Callable[[Comparison], str]] = {
    ".html": make_page,
    ".md": lambda comparison: to_markdown(make_table(comparison)),
    ".csv": lambda comparison: to_csv(make_table(comparison)),
}


def write_report(
    folders: Sequence[str | Path], outs: Sequence[str | Path], *, mixed: bool = False
) -> None:
    """Compares runs; writes all files, or where anything is wrong none.

    Args:
      folders: of runs.
      outs: files ending in .html, .md or .csv; replaced if they exist.
      mixed: whether runs may train different models, on different data, for different times.

    Raises:
      ReportError: the runs do not compare, or a file cannot be written.
      RunFolderError: a folder is not that of a run.
    """
    makers = [_maker(Path(out)) for out in outs]
    runs = read_runs(folders)
    if not mixed:
        check_comparable(runs)
    comparison = compare(runs)
    _write({Path(out): make(comparison) for out, make in zip(outs, makers, strict=True)})


def _maker(out: Path) -> Callable[[Comparison], str]:
    if out.suffix not in _MAKERS:
        raise ReportError(
            f"a report must end in one of {', '.join(_MAKERS)}, got '{out}'; rename it"
        )
    return _MAKERS[out.suffix]


def _write(texts: Mapping[Path, str]) -> None:
    """Replaces files as a whole, and none before all could be written."""
    temporaries = {out: out.with_name(f"{out.name}.temporary") for out in texts}
    try:
        for out, temporary in temporaries.items():
            _write_beside(out, temporary, texts[out])
        for out, temporary in temporaries.items():
            os.replace(temporary, out)
    finally:
        for temporary in temporaries.values():
            with contextlib.suppress(OSError):  # most are gone, some never were
                temporary.unlink()


def _write_beside(out: Path, temporary: Path, text: str) -> None:
    try:
        if out.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        temporary.write_text(text, encoding="utf-8", errors="replace", newline="")
    except OSError as error:
        raise ReportError(
            f"report '{out}' must be a file that can be written, got '{reason(error)}'; "
            "choose another place with --out=..."
        ) from error
