"""Tables as text: terminal, plain, Markdown, LaTeX (booktabs), CSV; and as Parquet.

Text shows percentages with one decimal and ``mean ± spread (n)``; CSV and Parquet hold the numbers themselves.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

TEXT_FORMATS = ("table", "plain", "md", "latex")
FORMATS = ("table", "csv", "md", "latex", "parquet")

_TITLES = {
    "run_id": "run",
    "stage": "method",
    "parameters": "parameters",
    "test_f1_micro": "micro F1",
    "test_f1_macro": "macro F1",
    "test_precision_micro": "precision",
    "test_recall_micro": "recall",
    "seconds": "seconds",
    "documents_per_second": "documents/s",
}
_NARROW_TITLES = {"parameters": "params", "seconds": "s", "documents_per_second": "docs/s", "unfinished": "failed"}
_METRIC_NAMES = {"f1_micro": "micro F1", "f1_blue": "F1 (BLUE)", "f1_macro": "macro F1", "f1_samples": "samples F1"}
_CONTEXT = ("protocol", "size", "experiment", "variant")  # told once, above the table, where all lines share it
_IDENTITY = (*_CONTEXT, "run_id", "stage", "seed", "status")
_SCORES = ("test_f1_micro", "test_f1_macro", "test_precision_micro", "test_recall_micro", "official")
_COSTS = ("seconds", "documents_per_second")


@dataclass(frozen=True)
class TextTable:
    """What a text format needs: words, and which lines to set in bold.

    Attributes:
        caption: What all lines have in common.
        header: One title a column.
        rows: One list of cells a line.
        numeric: Whether a column is numbers, to be set flush right.
        bold: Lines that hold the best student.
    """

    caption: str
    header: list[str]
    rows: list[list[str]]
    numeric: list[bool]
    bold: list[bool]


def to_text_table(table: pd.DataFrame, narrow: bool = False) -> TextTable:
    """Words for a frame of :mod:`kdh_ray.results.tables`.

    Args:
        table: From ``stage_table`` or ``run_table``.
        narrow: Say n once a line, in a column of its own, instead of in each cell.
    """
    shared = [name for name in _CONTEXT if name in table and table[name].nunique(dropna=False) == 1]
    names = [name for name in _IDENTITY if name in table and name not in shared and table[name].notna().any()]
    metrics = table["metric"].fillna("f1_micro").unique().tolist()
    scores = [name for name in _SCORES if name in table and not (name == "official" and metrics == ["f1_micro"])]
    costs = [name for name in _COSTS if table[name].notna().any()]
    columns = [*names, *(["n"] if narrow and "n" in table else []), "parameters", *scores, *costs]
    if "unfinished" in table and table["unfinished"].any():
        columns.append("unfinished")
    if "error" in table and table["error"].notna().any():
        columns.append("error")
    lines = table.to_dict("records")
    official = _METRIC_NAMES.get(metrics[0], metrics[0]) if len(metrics) == 1 else "official"
    titles = {**_TITLES, **(_NARROW_TITLES if narrow else {}), "official": official}
    caption = [str(table[name].iloc[0]) for name in shared if table[name].notna().all()]
    caption += ["test scores in %", "threshold tuned on validation"]
    if "n" in table and (table["n"] > 1).any():
        caption.append("mean ± standard deviation" + ("" if narrow else " (n)"))
    return TextTable(
        ", ".join(caption),
        [titles.get(name, name) for name in columns],
        [[_cell(line, name, narrow) for name in columns] for line in lines],
        [name not in (*_IDENTITY, "error") or name == "seed" for name in columns],
        [bool(line.get("best")) for line in lines],
    )


def _cell(line: dict[Any, Any], name: str, narrow: bool) -> str:
    value = line.get(name)
    if value is None or value != value:
        return "–"
    if name in _SCORES:
        spread, n = line.get(f"{name}_sd"), line.get("n", 1)
        text = f"{100 * value:.1f}"
        if spread is None or spread != spread:
            return text
        return f"{text} ± {100 * spread:.1f}" + ("" if narrow else f" ({n})")
    if name == "parameters":
        return f"{value / 1e6:.1f} M" if value >= 1e5 else f"{value / 1e3:.1f} k" if value >= 1e3 else f"{value:.0f}"
    if name in _COSTS:
        return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value)


def to_plain(table: pd.DataFrame) -> str:
    """Aligned columns, one line a row, ``*`` after the best student; for logs and pipes."""
    text = to_text_table(table)
    best = [f"{row[0]} *" if bold else row[0] for row, bold in zip(text.rows, text.bold, strict=True)]
    lines = [text.header, *([first, *row[1:]] for first, row in zip(best, text.rows, strict=True))]
    widths = [max(len(line[column]) for line in lines) for column in range(len(text.header))]
    body = ["  ".join(_pad(*cell) for cell in zip(line, widths, text.numeric, strict=True)).rstrip() for line in lines]
    return "\n".join([text.caption, *body, *(["* best student"] if any(text.bold) else [])]) + "\n"


def to_rich(table: pd.DataFrame) -> Table:
    """A table for ``rich``'s console, the best student in bold."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    text = to_text_table(table, narrow=True)
    grid = Table(caption=escape(text.caption), box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for title, numeric in zip(text.header, text.numeric, strict=True):
        grid.add_column(
            escape(title), justify="right" if numeric else "left", overflow="fold", no_wrap=title == "method"
        )
    for row, bold in zip(text.rows, text.bold, strict=True):
        grid.add_row(*map(escape, row), style="bold" if bold else None)
    return grid


def to_markdown(table: pd.DataFrame) -> str:
    """A GitHub table, the best student in bold, the caption below."""
    text = to_text_table(table)

    def line(cells: Iterator[str] | list[str]) -> str:
        return f"| {' | '.join(cells)} |"

    rules = ["---:" if numeric else ":---" for numeric in text.numeric]
    lines = [line([_markdown(title) for title in text.header]), line(rules)]
    for row, bold in zip(text.rows, text.bold, strict=True):
        lines.append(line([f"**{_markdown(cell)}**" if bold else _markdown(cell) for cell in row]))
    return "\n".join([*lines, "", _markdown(text.caption)]) + "\n"


def to_latex(table: pd.DataFrame) -> str:
    """A ``tabular`` with booktabs rules, the best student in bold; the caption is a comment."""
    text = to_text_table(table)
    lines = [f"% {text.caption}", rf"\begin{{tabular}}{{{''.join('r' if n else 'l' for n in text.numeric)}}}"]
    lines += [r"\toprule", " & ".join(map(_latex, text.header)) + r" \\", r"\midrule"]
    for row, bold in zip(text.rows, text.bold, strict=True):
        cells = [rf"\textbf{{{_latex(cell)}}}" if bold else _latex(cell) for cell in row]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def to_csv(table: pd.DataFrame) -> str:
    """The numbers, a header line first."""
    return table.to_csv(index=False, lineterminator="\n")


def to_parquet(table: pd.DataFrame) -> bytes:
    """The numbers, as the bytes of a Parquet file."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _pad(cell: str, width: int, right: bool) -> str:
    return cell.rjust(width) if right else cell.ljust(width)


def _markdown(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")


_LATEX = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "–": "--",
    }
)


def _latex(cell: str) -> str:
    return cell.translate(_LATEX)
