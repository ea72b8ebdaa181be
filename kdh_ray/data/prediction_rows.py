"""Predictions as rows of CSV and as JSON lines, written from tables and read again.

In CSV, the labels of a document are parted by ``;`` as in tables that train. Where a label's name has that sign, they
are a JSON list.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

SEPARATOR = ";"
DIGITS = 6  # of a number
PROBABILITY, LOGIT = "probability.", "logit."


def csv_content(rows: Iterable[Sequence[str]]) -> bytes:
    """Return rows as the content of a CSV file."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue().encode()


def csv_rows(table: Any) -> Iterator[list[str]]:
    """Yield the header and the rows of a pyarrow table of predictions."""
    yield list(table.column_names)
    as_list = _has_separator(table.column_names)
    for row in table.to_pylist():
        yield [_cell(value, as_list) for value in row.values()]


def read_csv(content: bytes) -> list[tuple[str, list[str], bool]]:
    """Return (id, labels, has an error) of each document in a CSV file of predictions."""
    rows = csv.DictReader(io.StringIO(content.decode(), newline=""))
    as_list = _has_separator(rows.fieldnames or ())
    return [(row["id"], _labels(row["labels"], as_list), bool(row.get("error"))) for row in rows]


def json_content(table: Any) -> bytes:
    """Return a pyarrow table of predictions as JSON lines."""
    lines = (json.dumps(_nested(row), ensure_ascii=False, allow_nan=False) for row in table.to_pylist())
    return "".join(f"{line}\n" for line in lines).encode()


def read_json(content: bytes) -> list[tuple[str, list[str], bool]]:
    """Return (id, labels, has an error) of each document in JSON lines of predictions."""
    rows = map(json.loads, content.splitlines())
    return [(row["id"], row["labels"] or [], row["error"] is not None) for row in rows]


def _nested(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with its probabilities in one object and its logits in another."""
    nested: dict[str, Any] = {"id": row["id"], "labels": row["labels"]}
    for prefix, name in ((PROBABILITY, "probabilities"), (LOGIT, "logits")):
        values = {column.removeprefix(prefix): value for column, value in row.items() if column.startswith(prefix)}
        if values:
            known = {label: round(value, DIGITS) for label, value in values.items() if value is not None}
            nested[name] = known or None
    return {**nested, "error": row["error"]}


def _has_separator(columns: Iterable[str]) -> bool:
    """Return whether a label's name has the sign that parts labels."""
    return any(column.startswith(PROBABILITY) and SEPARATOR in column for column in columns)


def _cell(value: Any, as_list: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.{DIGITS}f}"
    if isinstance(value, list):
        return json.dumps(value, ensure_ascii=False) if as_list else SEPARATOR.join(value)
    return str(value)


def _labels(cell: str, as_list: bool) -> list[str]:
    if not cell:
        return []
    return list(json.loads(cell)) if as_list else cell.split(SEPARATOR)
