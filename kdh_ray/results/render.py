"""Tables as text: terminal, plain, Markdown, LaTeX (booktabs), CSV; and as Parquet.

Text shows percentages with one decimal and ``mean ± spread (n)``; CSV and Parquet hold the frame as it is: numbers, but
for tables whose cells are words (by size, ablation).
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from kdh_ray.results.tables import METRIC_NAMES, MISSING, spread_cell

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

_NUMBER = re.compile(r"–|[-+]?\d[\d.,]*(e[-+]\d+)?( ± .*)?|nan|-?inf")  # as cells show it

_TITLES = {
    "run_id": "run",
    "stage": "method",
    "parameters": "parameters",
    "test_f1_micro": "micro F1",
    "test_f1_macro": "macro F1",
    "test_precision_micro": "precision",
    "test_recall_micro": "recall",
    "seconds": "stage seconds",  # without the stages that it starts or learns from, and without a search
    "documents_per_second": "documents/s",
}
_NARROW_TITLES = {
    "parameters": "params",
    "seconds": "stage s",
    "documents_per_second": "docs/s",
    "unfinished": "failed",
}
_CONTEXT = ("protocol", "size", "experiment", "variant")  # told once, above the table, where all lines share it
_PLACE = ("protocol", "size", "pair")  # likewise, in tables that hold no runs
_IDENTITY = (*_CONTEXT, "run_id", "stage", "seed", "status")
_SCORES = ("test_f1_micro", "test_f1_macro", "test_precision_micro", "test_recall_micro", "official")
_COSTS = ("seconds", "documents_per_second")
_LEAVE_OUT = ("documents_per_second", "seconds", "test_recall_micro", "test_precision_micro", "parameters")


@dataclass(frozen=True)
class TextTable:
    """What a text format needs: words, and which lines to set in bold.

    Attributes:
        caption: What all lines have in common.
        header: One title a column.
        rows: One list of cells a line.
        numeric: Whether a column is numbers, to be set flush right.
        bold: For each cell, whether it is the best's.
        best: What the best is the best of, for formats without bold type.
    """

    caption: str
    header: list[str]
    rows: list[list[str]]
    numeric: list[bool]
    bold: list[list[bool]]
    best: str = "best student"


def to_text_table(table: pd.DataFrame, narrow: bool = False, without: Sequence[str] = ()) -> TextTable:
    """Words for a frame of :mod:`kdh_ray.results.tables`.

    Args:
        table: Any of them.
        narrow: Say n once a line, in a column of its own, instead of in each cell.
        without: Columns to leave out, of scores and costs.
    """
    if "metric" not in table:
        return _as_it_is(table)
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
    """Those that say something: not told in the caption, not empty, not the same as another."""
    identity = [name for name in _IDENTITY if name in table and name not in shared and table[name].notna().any()]
    scores = [name for name in _SCORES if name in table and not (name == "official" and metrics == ["f1_micro"])]
    costs = [name for name in _COSTS if table[name].notna().any()]
    unfinished = ["unfinished"] if "unfinished" in table and table["unfinished"].any() else []
    errors = ["error"] if "error" in table and table["error"].notna().any() else []
    count = ["n"] if narrow and "n" in table else []
    return [*identity, *count, "parameters", *scores, *costs, *unfinished, *errors]


def _caption(table: pd.DataFrame, shared: list[str], narrow: bool) -> str:
    words = [str(table[name].iloc[0]) for name in shared if table[name].notna().all()]
    words += ["test scores in %", "threshold tuned on validation"]
    if "n" in table and (table["n"] > 1).any():
        words.append("mean ± standard deviation" + ("" if narrow else " (n)"))
        words += [] if narrow or (table["n"] > 1).all() else ["one run where no n stands"]
    return _and_note(table, ", ".join(words))


def _and_note(table: pd.DataFrame, caption: str) -> str:
    return "; ".join(filter(None, (caption, table.attrs.get("note"))))


def _as_it_is(table: pd.DataFrame) -> TextTable:
    """Columns with their own names; numbers with three digits; ``attrs``: ``best`` (in bold), ``caption``, ``note``.

    With ``attrs["spreads"]``, a column ``X sd`` stands in the cells of ``X``; with ``attrs["measured"]``, numbers keep
    their zeros (18.0).
    """
    once = [name for name in _PLACE if name in table and len(table) > 1 and table[name].nunique(dropna=False) == 1]
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
    told = [str(table[name].iloc[0]) for name in once if table[name].notna().all()]
    caption = _and_note(table, ", ".join(filter(None, [*told, table.attrs.get("caption", "")])))
    return TextTable(caption, list(map(str, kept)), rows, numeric, bold, "best")


def _shown(value: Any, zeros: bool = False) -> str:
    if value is None or value != value:
        return MISSING
    if isinstance(value, float):
        if 999.5 <= abs(value) < 1e15:
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
    """Aligned columns, one line a row, ``*`` after what is the best student's; for logs and pipes."""
    text = to_text_table(table)
    lines = [[_one_line(title) for title in text.header], *_marked(text, _one_line, "{} *")]
    widths = [max(len(line[column]) for line in lines) for column in range(len(text.header))]
    body = ["  ".join(_pad(*cell) for cell in zip(line, widths, text.numeric, strict=True)).rstrip() for line in lines]
    note = f"* {text.best}" if any(map(any, text.bold)) else ""
    return "\n".join(part for part in (text.caption, *body, note) if part) + "\n"


def to_rich(table: pd.DataFrame, width: int | None = None) -> Table:
    """A table for ``rich``'s console, the best student in bold; in ``width`` columns, without what has no room."""
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
    """As many columns as ``width`` has room for, with a gap of two after each."""
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
    """A GitHub table, the best student in bold, the caption below."""
    text = to_text_table(table)
    rules = ["---:" if numeric else ":---" for numeric in text.numeric]
    lines = [[_markdown(title) for title in text.header], rules, *_marked(text, _markdown, "**{}**")]
    body = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    return f"{body}\n{_markdown(text.caption)}\n" if text.caption else body


def to_latex(table: pd.DataFrame) -> str:
    """A ``tabular`` with booktabs rules, the best student in bold; the caption is a comment."""
    text = to_text_table(table)
    alignment = "".join("r" if numeric else "l" for numeric in text.numeric)
    head, *body = [
        " & ".join(cells) + r" \\" for cells in (map(_latex, text.header), *_marked(text, _latex, r"\textbf{{{}}}"))
    ]
    caption = [f"% {_one_line(text.caption)}"] if text.caption else []
    begin, end = rf"\begin{{tabular}}{{{alignment}}}", r"\end{tabular}"
    return "\n".join([*caption, begin, r"\toprule", head, r"\midrule", *body, r"\bottomrule", end]) + "\n"


def to_csv(table: pd.DataFrame) -> str:
    """The numbers, a header line first."""
    return table.to_csv(index=False, lineterminator="\n")


def to_parquet(table: pd.DataFrame) -> bytes:
    """The numbers, as the bytes of a Parquet file."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _marked(text: TextTable, escape: Callable[[str], str], emphasis: str) -> list[list[str]]:
    """Escaped cells, the bold ones put into ``emphasis``."""
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


_MARKDOWN = re.compile(r"[\\|*_`<\[\]~$]")  # what would make a tag, a link, a formula or another column of a name


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
