"""A comparison as one HTML page that needs nothing else: no network, no other file.

text = make_page(comparison)             # 5 MB, most of it plotly's script

Whatever comes from a run folder is escaped where it enters; and the page lets a browser run the two
scripts that are in it, by their hashes, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterator
from importlib import resources

from layup_jax.report.comparison import Comparison
from layup_jax.report.figures import make_figures, plotly_source
from layup_jax.report.table import Cell, Column, Table, make_table

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{lead}</p>
<div class="table" role="region" aria-label="runs" tabindex="0">
{table}
</div>
<noscript><p>The figures need JavaScript.</p></noscript>
<div class="figures">
{places}
</div>
<details><summary>What all runs share</summary>
<dl>
{shared}
</dl>
</details>
</main>
<script type="application/json" id="figures">{figures}</script>
<script>{plotly}</script>
<script>{script}</script>
</body>
</html>
"""
_EXPLANATION = (
    "Click a heading to sort. Runs that differ only in their seed are one row, "
    "mean ± standard deviation. Lines are means over workers, bands their range."
)

_SENTENCE = 40  # characters, from which on a cell needs a broad column


def make_page(comparison: Comparison) -> str:
    """The whole page.

    Raises:
      ReportError: plotly is not installed.
    """
    figures, plotly, script = make_figures(comparison), plotly_source(), _resource("page.js")
    policy = (
        f"default-src 'none'; script-src {_hash(plotly)} {_hash(script)}; "
        "style-src 'unsafe-inline'; img-src data: blob:"
    )
    return _PAGE.format(
        policy=policy,
        title=html.escape(_title(comparison)),
        style=_resource("page.css"),
        lead=_lead(comparison),
        table="\n".join(_table(make_table(comparison))),
        places="\n".join('<div class="figure"></div>' for _ in figures),
        shared="\n".join(_shared(comparison)),
        figures=_json_safe(f"[{','.join(str(figure.to_json()) for figure in figures)}]"),
        plotly=plotly,
        script=script,
    )


def _title(comparison: Comparison) -> str:
    runs = sum(len(group.runs) for group in comparison.groups)
    task = comparison.shared.get("model.name"), comparison.shared.get("data.name")
    what = "" if None in task else f": {task[0]} on {task[1]}"
    return f"{runs} {'run' if runs == 1 else 'runs'}{what}"


def _lead(comparison: Comparison) -> str:
    emulated = "Made with an emulated accelerator. " if comparison.emulated else ""
    return emulated + _EXPLANATION


def _table(table: Table) -> Iterator[str]:
    yield "<table><thead><tr>"
    yield from (_header(column) for column in table.columns)
    yield "</tr></thead><tbody>"
    for row in table.rows:
        cells = map(_cell, table.columns, row)
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</tbody></table>"


def _header(column: Column) -> str:
    title = re.sub(r"([._])", r"\1<wbr>", html.escape(column.title))
    return f'<th scope="col" class="{_class(column)}"><button type="button">{title}</button></th>'


def _cell(column: Column, cell: Cell) -> str:
    value = "" if cell.value is None else f' data-value="{cell.value!r}"'
    sentence = " sentence" if len(cell.text) > _SENTENCE else ""
    text = html.escape(cell.text)
    if cell.spread is not None:
        text = "{}<small>±{}</small>".format(*text.split("±"))
    return f'<td class="{_class(column)}{sentence}"{value}>{text}</td>'


def _class(column: Column) -> str:
    return "number" if column.numeric else "word"


def _shared(comparison: Comparison) -> Iterator[str]:
    for key, value in comparison.shared.items():
        yield f"<div><dt>{html.escape(key)}</dt><dd>{html.escape(repr(value))}</dd></div>"


def _json_safe(text: str) -> str:
    """The same JSON without any character that HTML might take for its own."""
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _resource(name: str) -> str:
    return resources.files("layup_jax.report").joinpath(name).read_text(encoding="utf-8")
