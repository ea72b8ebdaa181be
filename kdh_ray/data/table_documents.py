"""Rows of a user's table as documents: every value is checked, and every fault is collected before any is raised.

Messages name rows or ids and say what kind of value was received, never the value: a wrong column may hold text.
"""

from __future__ import annotations

import ast
import io
import math
import re
import tokenize
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Any

from kdh_ray.config import DataConfig
from kdh_ray.data.messages import listing
from kdh_ray.data.table_files import SPLIT_ALIASES, Table
from kdh_ray.errors import DataError

_NUMBER = re.compile(r"[-+]?\d{1,9}(\.\d{1,9})?")  # what a message may show: too short for a text
TRUE, FALSE = {"1", "1.0", "true"}, {"0", "0.0", "false"}
LONGEST_LABEL = 80  # characters; longer ones are text in the wrong column
MOST_KINDS = 8  # of faults in one message


@dataclass(frozen=True)
class Document:
    """One row: its id, text, labels, and the split it names, if any."""

    id: str
    text: str
    labels: frozenset[str]
    split: str | None


@dataclass
class Faults:
    """Faults of many rows, collected by kind."""

    rows: dict[str, list[str]] = field(default_factory=dict)

    def add(self, rule: str, row: str) -> None:
        """Note that ``row`` breaks ``rule``."""
        self.rows.setdefault(rule, []).append(row)

    def check(self, source: object) -> None:
        """Raise DataError if there are any: one line, a clause a kind."""
        if not self.rows:
            return
        kinds = [f"{rule}: {listing(names, 'row')}" for rule, names in self.rows.items()]
        more = [f"and {len(kinds) - MOST_KINDS} faults of other kinds"] if len(kinds) > MOST_KINDS else []
        raise DataError(f"{source}: " + "; ".join(kinds[:MOST_KINDS] + more))


def read_documents(tables: Sequence[Table], data: DataConfig) -> list[Document]:
    """The documents of all tables.

    Raises:
        DataError: With every fault of every row: missing columns, empty texts, labels that are missing or not 0/1,
            unknown splits, missing or repeated ids.
    """
    _check_choice(data)
    for table in tables:
        _check_columns(table, data)
    faults = Faults()
    documents = [
        _document(row, number, table, data, several=len(tables) > 1, faults=faults)
        for table in tables
        for number, row in enumerate(table.rows, start=1)
    ]
    repeated = [id_ for id_, count in Counter(document.id for document in documents).items() if id_ and count > 1]
    for id_ in repeated:
        faults.add("ids must differ; repeated", id_)
    faults.check(data.path)
    return documents


def _check_choice(data: DataConfig) -> None:
    if bool(data.label_columns) == (data.labels_column is not None):
        raise DataError(
            "a table needs either data.label_columns (one 0/1 column a label) or data.labels_column (a list); "
            f"got {'both' if data.label_columns else 'neither'}"
        )
    repeated = [column for column, count in Counter(data.label_columns).items() if count > 1]
    if repeated:
        raise DataError(f"data.label_columns must differ; repeated: {listing(repeated, 'column')}")
    if data.text_column in (*data.label_columns, data.labels_column):
        raise DataError(f"labels can't come from the text column; got {data.text_column!r} for both")
    if data.id_column == data.text_column:
        raise DataError(f"ids stand in results, so they can't be the texts; got {data.id_column!r} for both")


def _check_columns(table: Table, data: DataConfig) -> None:
    wanted = [data.text_column, *data.label_columns, data.labels_column, data.id_column, data.split_column]
    missing = [name for name in wanted if name is not None and name not in table.columns]
    if missing:
        raise DataError(f"{table.source}: lacks {listing(missing, 'column')}; it has {_column_names(table, missing)}")


def _column_names(table: Table, missing: Sequence[str]) -> str:
    """Names that look like names; the first row of a file without a header may be text."""
    names = [name for name in table.columns if re.fullmatch(r"[A-Za-z_][\w.-]{0,30}", name)]
    close = get_close_matches(missing[0], names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    shown = ", ".join(names[:20]) or "none that looks like a name; is there a header?"
    return f"{len(table.columns)} columns: {shown}{hint}"


def _document(
    row: dict[str, Any], number: int, table: Table, data: DataConfig, several: bool, faults: Faults
) -> Document:
    """A row. Its id is its column's, or else its number, with the file's name where there are several."""
    name = id_ = f"{Path(table.source).name}-{number}" if several else str(number)
    if data.id_column is not None:
        value = row.get(data.id_column)
        id_ = "" if _is_missing(value) else str(value).strip()
        name = id_ or name
    if not id_:
        faults.add(f"column {data.id_column!r} must hold an id; missing", name)
    text = row.get(data.text_column)
    if not isinstance(text, str) and not _is_missing(text):
        faults.add(f"column {data.text_column!r} must hold strings; got {type(text).__name__}", name)
    elif _is_missing(text) or not str(text).strip():
        faults.add(f"column {data.text_column!r} must hold text; empty", name)
    if data.labels_column is None:
        labels = {column for column in data.label_columns if _is_positive(row.get(column), column, name, faults)}
    else:
        labels = _labels(row.get(data.labels_column), name, data, faults)
    split = table.split if data.split_column is None else _split(row.get(data.split_column), name, data, faults)
    return Document(id_, str(text), frozenset(labels), split)


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value)) or value == ""


def _is_positive(value: Any, column: str, name: str, faults: Faults) -> bool:
    written = str(value).strip().lower()
    if written in TRUE or written in FALSE:
        return written in TRUE
    if _is_missing(value) or written == "nan":
        faults.add(f"label column {column!r} must hold 0 or 1; missing or NaN", name)
    else:
        received = value if isinstance(value, int | float) or _NUMBER.fullmatch(written) else type(value).__name__
        faults.add(f"label column {column!r} must hold 0 or 1; got {received}", name)
    return False


def _labels(value: Any, name: str, data: DataConfig, faults: Faults) -> set[str]:
    """Labels of a list, of a list written as a string, or of a string with separators; an empty one has none."""
    if value != "" and _is_missing(value):
        faults.add(f"column {data.labels_column!r} must hold labels, or an empty list; missing or NaN", name)
        return set()
    if isinstance(value, str) and re.fullmatch(r"\s*\[.*\]\s*", value, flags=re.DOTALL):
        try:
            written, value = value.strip(), ast.literal_eval(value.strip())
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            faults.add(f"column {data.labels_column!r} must hold lists; malformed", name)
            return set()
        if _strings_meet(written):
            faults.add(f"lists in column {data.labels_column!r} must have commas between labels; got none", name)
            return set()
    if isinstance(value, str):
        value = [label for label in value.split(data.label_separator) if label.strip()]
    items = list(value) if isinstance(value, list | tuple) else [value]
    labels = {str(item).strip() for item in items if isinstance(item, str | int)}
    if len(labels) == 0 < len(items) or any(not isinstance(item, str | int) for item in items) or "" in labels:
        faults.add(f"labels in column {data.labels_column!r} must be non-empty strings", name)
    if any(len(label) > LONGEST_LABEL for label in labels):
        faults.add(f"labels in column {data.labels_column!r} must have at most {LONGEST_LABEL} characters", name)
    return labels


def _strings_meet(source: str) -> bool:
    """Whether strings stand side by side, as in NumPy's ``['a' 'b']``, which Python reads as the one string ``ab``."""
    if not re.search(r"""['"]\s*['"]""", source):
        return False
    kinds = [token.type for token in tokenize.generate_tokens(io.StringIO(source).readline)]
    kinds = [kind for kind in kinds if kind != tokenize.NL]
    return any(kind == following == tokenize.STRING for kind, following in pairwise(kinds))


def _split(value: Any, name: str, data: DataConfig, faults: Faults) -> str | None:
    split = SPLIT_ALIASES.get(str(value).strip().lower())
    if split is None:
        faults.add(f"column {data.split_column!r} must hold train, validation or test; something else", name)
    return split
