"""Rows of a user's tables as documents. Every value is checked, and all faults are reported together.

Messages name rows or ids and say what kind of value was received, never the value: a wrong column may hold text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kdh_ray.config import DataConfig
from kdh_ray.data.label_cells import CellError, find_separator, is_missing, parse_binary, parse_labels, split_plain_text
from kdh_ray.data.messages import check_columns_exist, listing
from kdh_ray.data.table_files import SPLIT_ALIASES, Table
from kdh_ray.data.table_parts import Part, parse_parts
from kdh_ray.errors import DataError

MAX_KINDS_OF_FAULTS = 8  # in one message


@dataclass(frozen=True)
class Document:
    """One row of a table.

    Attributes:
        id: From the id column, or the row's number.
        text: The document.
        labels: Names of its labels.
        split: ``train``, ``validation`` or ``test``; None where neither its file nor a column names one.
        parts: Labelled parts, if a column holds them.
    """

    id: str
    text: str
    labels: frozenset[str]
    split: str | None
    parts: tuple[Part, ...] | None = None


@dataclass
class Faults:
    """Faults of many rows, collected by the rule that they break.

    Attributes:
        rows: Rule -> names of the rows that break it.
    """

    rows: dict[str, list[str]] = field(default_factory=dict)

    def add(self, rule: str, row: str) -> None:
        """Note that ``row`` breaks ``rule``."""
        self.rows.setdefault(rule, []).append(row)

    def check(self, source: object) -> None:
        """Raise a DataError of one line, with a clause per rule, if any rule is broken."""
        if not self.rows:
            return
        clauses = [f"{rule}: {listing(names, 'row')}" for rule, names in self.rows.items()]
        further = len(clauses) - MAX_KINDS_OF_FAULTS
        if further > 0:
            clauses = [*clauses[:MAX_KINDS_OF_FAULTS], f"and {further} faults of other kinds"]
        raise DataError(f"{source}: " + "; ".join(clauses))


def read_documents(tables: Sequence[Table], data: DataConfig) -> list[Document]:
    """Read the documents of all tables, in their order.

    Raises:
        DataError: With every fault of every row: missing columns, empty texts, labels that are missing or not 0/1,
            cells that are not lists of labels, unknown splits, missing or repeated ids.
    """
    _check_choice(data)
    for table in tables:
        _check_columns(table, data)
    faults = Faults()
    reader = _RowReader(data, several_files=len(tables) > 1, faults=faults)
    documents = [reader.read(row, number, table) for table in tables for number, row in enumerate(table.rows, start=1)]
    reader.check_separator()
    counts = Counter(document.id for document in documents)
    for id_, count in counts.items():
        if id_ and count > 1:
            faults.add("ids must differ; repeated", id_)
    faults.check(data.path)
    return documents


def _check_choice(data: DataConfig) -> None:
    ways = bool(data.label_columns) + (data.labels_column is not None)
    if ways > 1 or (ways == 0 and data.segments_column is None):
        raise DataError(
            "a table needs either data.label_columns (one 0/1 column per label) or data.labels_column (a list), or"
            " data.segments_column; "
            f"got {'both' if data.label_columns else 'neither'}"
        )
    repeated = [column for column, count in Counter(data.label_columns).items() if count > 1]
    if repeated:
        raise DataError(f"data.label_columns must differ; repeated: {listing(repeated, 'column')}")
    if data.text_column in (*data.label_columns, data.labels_column):
        raise DataError(f"labels can't come from the text column; got {data.text_column!r} for both")
    if data.id_column == data.text_column:
        raise DataError(f"ids are written to results, so they can't be the texts; got {data.id_column!r} for both")


def _check_columns(table: Table, data: DataConfig) -> None:
    joined = data.segments_column is not None and data.text_column not in table.columns
    text = [] if joined else [data.text_column]
    wanted = [*text, *data.label_columns, data.labels_column, data.segments_column, data.id_column, data.split_column]
    named = [name for name in wanted if name is not None]
    check_columns_exist(table.source, named, table.columns, table.has_json_keys)


class _RowReader:
    """Reads rows as documents, and notes what is wrong with them.

    Args:
        data: Names the columns.
        several_files: Whether the name of a row includes that of its file, since numbers repeat.
        faults: Receives the faults.
    """

    def __init__(self, data: DataConfig, several_files: bool, faults: Faults) -> None:
        self._data, self._several_files, self._faults = data, several_files, faults
        self._plain_labels: dict[str, list[str]] = {}  # row -> labels of a cell of plain text

    def read(self, row: dict[str, Any], number: int, table: Table) -> Document:
        """Read row ``number`` of a table, from 1. Its name in messages is its id, or else its number."""
        name = f"{Path(table.source).name}-{number}" if self._several_files else str(number)
        id_ = self._id(row, name)
        name = id_ or name
        labels = self._labels(row, name)
        split = table.split if self._data.split_column is None else self._split(row, name)
        if self._data.segments_column is None:
            return Document(id_, self._text(row.get(self._data.text_column), name), labels, split)
        text, parts = self._parts(row, name, self._data.text_column in table.columns)
        return Document(id_, text, labels.union(*(part.labels for part in parts)), split, tuple(parts))

    def check_separator(self) -> None:
        """Note the rows whose labels are separated by something else than ``data.label_separator``."""
        found = find_separator(label for labels in self._plain_labels.values() for label in labels)
        if found is None:
            return
        separator, compounds = found
        rule = (
            f"column {self._data.labels_column!r}: labels must be separated by {self._data.label_separator!r}, the "
            f"data.label_separator; got {separator!r} between labels (set data.label_separator, or write cells as "
            """lists such as ["a", "b"])"""
        )
        for name, labels in self._plain_labels.items():
            if not compounds.isdisjoint(labels):
                self._faults.add(rule, name)

    def _id(self, row: dict[str, Any], name: str) -> str:
        column = self._data.id_column
        if column is None:
            return name
        value = row.get(column)
        id_ = "" if is_missing(value) else str(value).strip()
        if not id_:
            self._faults.add(f"column {column!r} must hold an id; missing", name)
        return id_

    def _text(self, value: Any, name: str) -> str:
        column = self._data.text_column
        if not is_missing(value) and not isinstance(value, str):
            self._faults.add(f"column {column!r} must hold strings; got {type(value).__name__}", name)
        elif is_missing(value) or not value.strip():
            self._faults.add(f"column {column!r} must hold text; empty", name)
        return str(value)

    def _parts(self, row: dict[str, Any], name: str, has_text: bool) -> tuple[str, list[Part]]:
        text = self._text(row.get(self._data.text_column), name) if has_text else None
        column = self._data.segments_column
        try:
            document, parts = parse_parts(row.get(column), text, self._data.label_separator)  # type: ignore[arg-type]
        except CellError as error:
            self._faults.add(f"column {column!r} {error}", name)
            return text or "", []
        known = self._data.label_columns
        if known and any(not part.labels.issubset(known) for part in parts):
            self._faults.add(f"column {column!r}: labels of parts must be data.label_columns; another one", name)
        return document, parts

    def _labels(self, row: dict[str, Any], name: str) -> frozenset[str]:
        column = self._data.labels_column
        if column is None:
            return frozenset(label for label in self._data.label_columns if self._is_positive(row, label, name))
        try:
            labels = parse_labels(row.get(column), self._data.label_separator)
        except CellError as error:
            self._faults.add(f"column {column!r}: {error}", name)
            return frozenset()
        self._plain_labels[name] = split_plain_text(row.get(column), self._data.label_separator)
        return labels

    def _is_positive(self, row: dict[str, Any], label: str, name: str) -> bool:
        try:
            return parse_binary(row.get(label))
        except CellError as error:
            self._faults.add(f"label column {label!r} {error}", name)
            return False

    def _split(self, row: dict[str, Any], name: str) -> str | None:
        column = self._data.split_column
        split = SPLIT_ALIASES.get(str(row.get(column)).strip().lower())  # type: ignore[arg-type]
        if split is None:
            self._faults.add(f"column {column!r} must hold train, validation or test; something else", name)
        return split
