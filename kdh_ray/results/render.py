"""Tables as text (terminal, plain, Markdown, LaTeX with booktabs, CSV) and as Parquet.

Text shows percentages with one decimal as ``mean ± sd (n)``. CSV and Parquet hold the frame as it is: numbers, except
in tables whose cells are text already (by size, ablation).
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from kdh_ray.results.method_rows import METRIC_NAMES
from kdh_ray.results.tables import MISSING, spread_cell

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

_NUMBER = re.compile(r"–|[-+]?\d[\d.,]*(e[-+]\d+)?( ± .*)?|nan|-?inf")  # as cells show numbers

_TITLES = {
    "run_id": "run",
    "stage": "method",
    "parameters": "parameters",
    "test_f1_micro": "micro F1",
    "test_f1_macro": "macro F1",
    "test_precision_micro": "precision",
    "test_recall_micro": "recall",
    "seconds": "stage seconds",  # of the stage only: without its teachers, its start and a search
    "documents_per_second": "documents/s",
}
_NARROW_TITLES = {
    "parameters": "params",
    "seconds": "stage s",
    "documents_per_second": "docs/s",
    "unfinished": "failed",
}
_CONTEXT = ("protocol", "size", "experiment", "variant")  # in the caption instead, where all lines share the value
_COMMON = ("protocol", "size", "pair")  # the same for tables that have no line per stage
_IDENTITY = (*_CONTEXT, "run_id", "stage", "seed", "status")
_SCORES = ("test_f1_micro", "test_f1_macro", "test_precision_micro", "test_recall_micro", "official")
_COSTS = ("seconds", "documents_per_second")
_LEAVE_OUT = ("documents_per_second", "seconds", "test_recall_micro", "test_precision_micro", "parameters")


@dataclass(frozen=True)
class TextTable:
    """Cells of a table as text, and which of them to set in bold.

    Attributes:
        caption: What all lines have in common, and notes.
        header: (n_columns) titles.
        rows: (n_rows, n_columns) cells.
        numeric: (n_columns) whether a column holds numbers, which are aligned right.
        bold: (n_rows, n_columns) whether a cell belongs to the best line or is the best of its column.
        best: Meaning of a bold cell, for formats without bold type.
    """

    caption: str
    header: list[str]
    rows: list[list[str]]
    numeric: list[bool]
    bold: list[list[bool]]
    best: str = "best student"


def to_text_table(table: pd.DataFrame, narrow: bool = False, without: Sequence[str] = ()) -> TextTable:
    """Return a frame of :mod:`kdh_ray.results.tables` as text.

    Args:
        table: Any table.
        narrow: Show n once per line, in a column of its own, instead of in each cell.
        without: Columns of scores and costs to leave out.
    """
    if "metric" not in table:  # no line per stage
        return _any_table(table)
    shared = [name for name in _CONTEXT if name in table and table[name].nunique(dropna=False) == 1]
    metrics = table["metric"].fillna("f1_micro").unique().tolist()
    official = METRIC_NAMES.get(metrics[0], metrics[0]) if len(metrics) == 1 else "official"
    columns = [name for name in _columns(table, shared, metrics, narrow) if name not in without]
    decisive = "official" if "official" in columns else "test_f1_micro"
    titles = {**_TITLES, **(_NARROW_TITLES if narrow else {}), "official": official}
    lines = table.to_dict("records")
    return TextTable(
        _caption(table, shared, narrow),
        [titles.get(name, name) for name in columns],
        [[_cell(line, name, narrow) for name in columns] for line in lines],
        [name not in (*_IDENTITY, "error") or name == "seed" for name in columns],
        [[bool(line.get("best")) and name in ("stage", decisive) for name in columns] for line in lines],
    )


def _columns(table: pd.DataFrame, shared: list[str], metrics: list[str], narrow: bool) -> list[str]:
    """Return the columns to show: not in the caption, not empty, and not the same as another one."""
    identity = [name for name in _IDENTITY if name in table and name not in shared and table[name].notna().any()]
    scores = [name for name in _SCORES if name in table and not (name == "official" and metrics == ["f1_micro"])]
    costs = [name for name in _COSTS if table[name].notna().any()]
    unfinished = ["unfinished"] if "unfinished" in table and table["unfinished"].any() else []
    errors = ["error"] if "error" in table and table["error"].notna().any() else []
    count = ["n"] if narrow and "n" in table else []
    return [*identity, *count, "parameters", *scores, *costs, *unfinished, *errors]


def _caption(table: pd.DataFrame, shared: list[str], narrow: bool) -> str:
    parts = [str(table[name].iloc[0]) for name in shared if table[name].notna().all()]
    parts += ["test scores in %", "threshold tuned on validation"]
    if "n" in table and (table["n"] > 1).any():
        parts.append("mean ± standard deviation" + ("" if narrow else " (n)"))
        if not narrow and not (table["n"] > 1).all():
            parts.append("one run where no n stands")
    return _with_note(table, ", ".join(parts))


def _with_note(table: pd.DataFrame, caption: str) -> str:
    return "; ".join(filter(None, (caption, table.attrs.get("note"))))


def _any_table(table: pd.DataFrame) -> TextTable:
    """Return a table that has no line per stage: its own column names, and numbers with three digits.

    ``attrs`` of the table say how: ``best`` (cells in bold), ``caption`` and ``note``; with ``spreads``, a column
    ``X sd`` is shown in the cells of ``X``; with ``measured``, numbers keep their trailing zeros (18.0).
    """
    candidates = [name for name in _COMMON if name in table and len(table) > 1]
    once = [name for name in candidates if table[name].nunique(dropna=False) == 1]
    spreads = [f"{name} sd" for name in table.columns] if table.attrs.get("spreads") else []
    zeros = bool(table.attrs.get("measured"))
    kept = [name for name in table.columns if name not in (*once, *spreads)]
    lines = table.to_dict("records")
    rows = [
        [_shown(line[name], zeros) + (_spread(line.get(f"{name} sd")) if spreads else "") for name in kept]
        for line in lines
    ]
    numeric = [all(_NUMBER.fullmatch(row[column]) for row in rows) for column in range(len(kept))]
    best = table.attrs.get("best") or [[False] * table.shape[1] for _ in rows]
    bold = [[cell for cell, name in zip(line, table.columns, strict=True) if name in kept] for line in best]
    context = [str(table[name].iloc[0]) for name in once if table[name].notna().all()]
    caption = _with_note(table, ", ".join(filter(None, [*context, table.attrs.get("caption", "")])))
    return TextTable(caption, list(map(str, kept)), rows, numeric, bold, "best")


def _shown(value: Any, zeros: bool = False) -> str:
    if value is None or value != value:
        return MISSING
    if isinstance(value, float):
        if 999.5 <= abs(value) < 1e15:  # three digits would be written with an exponent
            return f"{value:,.0f}"
        return f"{value:#.3g}".removesuffix(".") if zeros else f"{value:.3g}"
    return str(value)


def _spread(value: float | None) -> str:
    return f" ± {value:.2g}" if value is not None and value > 0 else ""


def _cell(line: dict[Any, Any], name: str, narrow: bool) -> str:
    value = line.get(name)
    if name in _SCORES:
        return spread_cell(line, name, with_n=not narrow)
    if value is None or value != value:
        return MISSING
    if name == "parameters":
        return f"{value / 1e6:.1f} M" if value >= 1e5 else f"{value / 1e3:.1f} k" if value >= 1e3 else f"{value:.0f}"
    if name in _COSTS:
        return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value)


def to_plain(table: pd.DataFrame) -> str:
    """Return aligned columns for logs and pipes, with ``*`` after the best student's cells."""
    text = to_text_table(table)
    lines = [[_one_line(title) for title in text.header], *_marked(text, _one_line, "{} *")]
    widths = [max(len(line[column]) for line in lines) for column in range(len(text.header))]
    body = ["  ".join(_pad(*cell) for cell in zip(line, widths, text.numeric, strict=True)).rstrip() for line in lines]
    # A star needs its meaning only where there is one.
    note = f"* {text.best}" if any(map(any, text.bold)) else ""
    return "\n".join(part for part in (text.caption, *body, note) if part) + "\n"


def to_rich(table: pd.DataFrame, width: int | None = None) -> Table:
    """Return a table for ``rich``'s console, with the best student in bold.

    Args:
        table: Any table.
        width: Characters of the console; the least important columns that do not fit are left out.
    """
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    text = _fitting(table, width)
    grid = Table(caption=escape(text.caption) or None, box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for title, numeric in zip(text.header, text.numeric, strict=True):
        justify: Literal["left", "right"] = "right" if numeric else "left"
        grid.add_column(escape(title), justify=justify, overflow="fold", no_wrap=title in ("method", "variant"))
    for cells in _marked(text, escape, "[bold]{}[/]"):
        grid.add_row(*cells)
    return grid


def _fitting(table: pd.DataFrame, width: int | None) -> TextTable:
    """Return as many columns as fit into ``width`` characters, with a gap of two after each."""
    text = to_text_table(table, narrow=True)
    for left_out in range(1, len(_LEAVE_OUT) + 1):
        lines = [text.header, *text.rows]
        needed = sum(2 + max(len(line[column]) for line in lines) for column in range(len(text.header)))
        if width is None or needed <= width or "metric" not in table:
            break
        text = to_text_table(table, narrow=True, without=_LEAVE_OUT[:left_out])
        text = replace(text, caption=f"{text.caption}; more columns on a wider terminal")
    return text


def to_markdown(table: pd.DataFrame) -> str:
    """Return a GitHub table with the best student in bold and the caption below."""
    text = to_text_table(table)
    rules = ["---:" if numeric else ":---" for numeric in text.numeric]
    lines = [[_markdown(title) for title in text.header], rules, *_marked(text, _markdown, "**{}**")]
    body = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    return f"{body}\n{_markdown(text.caption)}\n" if text.caption else body


def to_latex(table: pd.DataFrame) -> str:
    """Return a ``tabular`` with booktabs rules and the best student in bold; the caption is a comment."""
    text = to_text_table(table)
    alignment = "".join("r" if numeric else "l" for numeric in text.numeric)
    head, *body = [
        " & ".join(cells) + r" \\" for cells in (map(_latex, text.header), *_marked(text, _latex, r"\textbf{{{}}}"))
    ]
    caption = [f"% {_one_line(text.caption)}"] if text.caption else []
    begin, end = rf"\begin{{tabular}}{{{alignment}}}", r"\end{tabular}"
    return "\n".join([*caption, begin, r"\toprule", head, r"\midrule", *body, r"\bottomrule", end]) + "\n"


def to_csv(table: pd.DataFrame) -> str:
    """Return the numbers as CSV with a header line."""
    return table.to_csv(index=False, lineterminator="\n")


def to_parquet(table: pd.DataFrame) -> bytes:
    """Return the numbers as the bytes of a Parquet file."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _marked(text: TextTable, escape: Callable[[str], str], emphasis: str) -> list[list[str]]:
    """Return escaped cells, those in bold put into ``emphasis``."""
    return [
        [emphasis.format(escape(cell)) if best else escape(cell) for cell, best in zip(cells, bold, strict=True)]
        for cells, bold in zip(text.rows, text.bold, strict=True)
    ]


def _pad(cell: str, width: int, right: bool) -> str:
    return cell.rjust(width) if right else cell.ljust(width)


def _one_line(cell: str) -> str:
    return " ".join(cell.splitlines())


def _markdown(cell: str) -> str:
    return _MARKDOWN.sub(r"\\\g<0>", _one_line(cell))


_MARKDOWN = re.compile(r"[\\|*_`<\[\]~$]")  # characters that would turn a name into a tag, link, formula or column


_LATEX = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "→": r"$\rightarrow$",
        "…": r"\ldots{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "–": "--",
    }
)


def _latex(cell: str) -> str:
    return _one_line(cell).translate(_LATEX)
