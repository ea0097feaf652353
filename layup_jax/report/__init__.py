"""Reports: runs side by side, as one page, as a table of Markdown, or as CSV.

    write_report(["runs/a", "runs/b"], ["report.html"])     # one sentence if they do not compare

Nouns: `Comparison` of `Group`s of `Run`s (what is compared), `Table` (its numbers), `Band` and
figures (its curves), page (all of it as HTML). plotly is imported on first use, never by importing this.
"""

from layup_jax.report.comparison import Comparison, Group, Run, check_comparable, compare, read_runs
from layup_jax.report.document import write_report
from layup_jax.report.table import Cell, Column, Table, make_table, to_csv, to_markdown

__all__ = [
    "Cell",
    "Column",
    "Comparison",
    "Group",
    "Run",
    "Table",
    "check_comparable",
    "compare",
    "make_table",
    "read_runs",
    "to_csv",
    "to_markdown",
    "write_report",
]
