"""Rows of a user's tables as documents. Every value is checked, and all faults are reported together.

Messages name rows or ids and say what kind of value was received, never the value: a wrong column may hold text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from kdh_ray.config import DataConfig
from kdh_ray.data.binary_columns import BinaryColumns
from kdh_ray.data.label_cells import CellError, is_blank, is_missing, says_missing
from kdh_ray.data.label_column import LabelColumn
from kdh_ray.data.label_spelling import one_spelling, spelling_notice
from kdh_ray.data.messages import Faults, check_columns_exist, listing
from kdh_ray.data.table import SPLIT_ALIASES, Table
from kdh_ray.data.table_parts import Part, parse_parts
from kdh_ray.errors import DataError


@dataclass(frozen=True)
class Document:
    """One row of a table.

    Attributes:
        id: From the id column, or the row's number.
        text: The document.
        labels: Names of its labels.
        split: ``train``, ``validation`` or ``test``; None where neither its file nor a column names one.
        parts: Labelled parts, if a column holds them.
        group: From the group column; None without one.
    """

    id: str
    text: str
    labels: frozenset[str]
    split: str | None
    parts: tuple[Part, ...] | None = None
    group: str | None = None


@dataclass(frozen=True)
class Documents:
    """The documents of a user's tables.

    Attributes:
        documents: In the order of the tables and their rows.
        notes: How cells were read that are neither 0 and 1 nor names, one line each.
        warnings: What was changed, assumed or left out, one line each.
    """

    documents: Sequence[Document]
    notes: Sequence[str]
    warnings: Sequence[str]


def read_documents(tables: Sequence[Table], data: DataConfig) -> Documents:
    """Read the documents of all tables, in their order.

    Raises:
        DataError: With every fault of every row: missing columns, empty texts, labels that are missing or not 0/1,
            cells that are not lists of labels, unknown splits, missing or repeated ids.
    """
    _check_choice(data)
    for table in tables:
        _check_columns(table, data)
    return _Reader(tables, data).read()


def _check_choice(data: DataConfig) -> None:
    ways = bool(data.label_columns) + (data.labels_column is not None)
    if ways > 1 or (ways == 0 and data.segments_column is None):
        raise DataError(
            "a table needs either data.label_columns (one 0/1 column per label) or data.labels_column (a list), or"
            " data.segments_column; "
            f"got {'both' if data.label_columns else 'neither'}"
        )
    if data.label_columns and data.label_names:
        raise DataError(
            "data.label_names are for lists of labels, and data.label_columns have names of their own; got both"
        )
    for names, setting, kind in (
        (data.label_columns, "label_columns", "column"),
        (data.label_names, "label_names", "name"),
    ):
        repeated = [name for name, count in Counter(names).items() if count > 1]
        if repeated:
            raise DataError(f"data.{setting} must differ; repeated: {listing(repeated, kind)}")
    if data.text_column in (*data.label_columns, data.labels_column):
        raise DataError(f"labels can't come from the text column; got {data.text_column!r} for both")
    if data.id_column == data.text_column:
        raise DataError(f"ids are written to results, so they can't be the texts; got {data.id_column!r} for both")


def read_column(tables: Sequence[Table], data: DataConfig, column: str) -> dict[str, Any]:
    """Return the cells of a column, by the id of their document."""
    return {row.id or row.name: row.values.get(column) for row in _Reader(tables, data).rows()}


def _check_columns(table: Table, data: DataConfig) -> None:
    joined = data.segments_column is not None and data.text_column not in table.columns
    text = [] if joined else [data.text_column]
    single = (data.labels_column, data.segments_column, data.id_column, data.group_column, data.split_column)
    named = [*text, *data.label_columns, *(name for name in single if name is not None)]
    check_columns_exist(table.source, named, table.columns, table.has_json_keys)


@dataclass
class _Row:
    """A row on its way to a document.

    Attributes:
        name: Its id, or else its number: what messages call it.
        id: Its id; empty if that is missing.
        values: Column -> cell.
        table: Where it is from.
        text: The document.
        spans: Half-open character ranges of its parts.
        part_cells: The labels of its parts, unread.
    """

    name: str
    id: str
    values: dict[str, Any]
    table: Table
    text: str = ""
    spans: Sequence[tuple[int, int]] = ()
    part_cells: Sequence[Any] = ()


class _Reader:
    """Reads rows as documents, and notes what is wrong with them.

    Labels are read column by column, since a single cell doesn't show what its numbers and separators mean.

    Args:
        tables: The tables.
        data: Names the columns, and says what missing values mean.
    """

    def __init__(self, tables: Sequence[Table], data: DataConfig) -> None:
        self._tables, self._data = tables, data
        self._names = data.label_names or data.label_columns
        self._faults = Faults()
        self._notes, self._warnings = list[str](), list[str]()
        self._left_out: Counter[str] = Counter()  # reason -> documents
        self._words_for_nothing = 0  # texts such as "nan"

    def read(self) -> Documents:
        """Read all rows."""
        rows = [row for row in self.rows() if self._has_text(row)]
        labels, part_labels = self._labels(rows), self._part_labels(rows)
        listed = [each or [] for each in chain(labels, *part_labels)]
        spelling = one_spelling(chain.from_iterable(listed), self._names)
        read = [
            self._document(row, own, of_parts, spelling)
            for row, own, of_parts in zip(rows, labels, part_labels, strict=True)
        ]
        documents = [document for document in read if document is not None]
        for id_, count in Counter(document.id for document in documents).items():
            if id_ and count > 1:
                self._faults.add("ids must differ; repeated", id_)
        self._faults.check(self._data.path)
        if notice := spelling_notice(spelling):
            self._warnings.append(notice)
        if self._words_for_nothing:
            self._warnings.append(f"texts that are only a word for no value, such as nan: {self._words_for_nothing}")
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self._left_out.items()))
        if not documents:
            raise DataError(f"{self._data.path}: has no documents; left out: {reasons}")
        if reasons:
            self._warnings.append(f"documents left out: {reasons}")
        return Documents(documents, self._notes, self._warnings)

    def rows(self) -> Iterator[_Row]:
        """Yield the rows that are documents: not blank ones, nor those that an annotator of Prodigy ignored."""
        for table in self._tables:
            for number, values in enumerate(table.rows, start=1):
                name = f"{Path(table.source).name}-{number}" if len(self._tables) > 1 else str(number)
                if all(is_blank(value) for value in values.values()):
                    self._left_out["blank rows"] += 1
                    continue
                id_ = self._id(values, name)
                yield _Row(id_ or name, id_, values, table)

    def _id(self, values: dict[str, Any], name: str) -> str:
        column = self._data.id_column
        if column is None:
            return name
        value = values.get(column)
        id_ = "" if is_missing(value) else str(value).strip()
        if not id_:
            self._faults.add(f"column {column!r} must hold an id; missing", name)
        return id_

    def _group(self, row: _Row) -> str | None:
        column = self._data.group_column
        if column is None:
            return None
        value = row.values.get(column)
        if is_blank(value):
            hint = "give such a row a group of its own, such as its id, or do without data.group_column"
            self._faults.add(f"column {column!r} must hold a group; missing", row.name, hint)
        return str(value).strip()

    def _has_text(self, row: _Row) -> bool:
        """Read a row's text, and where its parts are; return False for a blank text that is left out."""
        column = self._data.text_column
        value = row.values.get(column)
        text: str | None = None
        if self._data.segments_column is None or column in row.table.columns:
            text = str(value)
            self._words_for_nothing += isinstance(value, str) and says_missing(value)
            if is_blank(value):
                if self._data.blank_texts == "drop":
                    self._left_out["without text"] += 1
                    return False
                hint = "data.blank_texts: drop leaves documents without text out"
                self._faults.add(f"column {column!r} must hold text; empty", row.name, hint)
            elif not isinstance(value, str):
                self._faults.add(f"column {column!r} must hold strings; got {type(value).__name__}", row.name)
        if self._data.segments_column is None:
            row.text = text or ""
            return True
        try:
            row.text, row.spans, row.part_cells = parse_parts(row.values.get(self._data.segments_column), text)
        except CellError as error:
            self._faults.add(f"column {self._data.segments_column!r} {error}", row.name)
        return True

    def _labels(self, rows: Sequence[_Row]) -> list[list[str] | None]:
        """Return the labels of each row as they are written; None where it is to be dropped."""
        names, column = [row.name for row in rows], self._data.labels_column
        if column is not None:
            return self._listed(column, names, [row.values.get(column) for row in rows])
        reader = BinaryColumns(self._data, self._faults)
        columns = {
            label: reader.read(label, names, [row.values.get(label) for row in rows])
            for label in self._data.label_columns
        }
        self._notes += reader.notes()
        self._warnings += reader.warnings()
        return [
            None if any(cells[place] is None for cells in columns.values())
            else [label for label, cells in columns.items() if cells[place]]
            for place in range(len(rows))
        ]  # fmt: skip

    def _part_labels(self, rows: Sequence[_Row]) -> list[list[list[str] | None]]:
        """Return the labels of each row's parts as they are written; None for a part whose row is to be dropped."""
        column = self._data.segments_column
        if column is None:
            return [[] for _ in rows]
        names = [row.name for row in rows for _ in row.part_cells]
        read = iter(self._listed(column, names, [cell for row in rows for cell in row.part_cells]))
        return [[next(read) for _ in row.part_cells] for row in rows]

    def _listed(self, column: str, names: Sequence[str], cells: Sequence[Any]) -> list[list[str] | None]:
        reader = LabelColumn(column, self._data, self._names, self._faults)
        labels = reader.read(names, cells)
        self._notes += [reader.note] if reader.note else []
        self._warnings += reader.warnings()
        return labels

    def _document(
        self, row: _Row, own: list[str] | None, of_parts: list[list[str] | None], spelling: Mapping[str, str]
    ) -> Document | None:
        """Return a row as a document; None if it is left out."""
        if own is None or None in of_parts:
            self._left_out["with a missing label"] += 1
            return None
        parts = tuple(
            Part(*span, frozenset(spelling[label] for label in labels or ()))
            for span, labels in zip(row.spans, of_parts, strict=True)
        )
        labels = frozenset(spelling[label] for label in own).union(*(part.labels for part in parts))
        if not labels and self._data.without_labels == "drop":
            self._left_out["without a label"] += 1
            return None
        if self._names and not labels.issubset(self._names):
            self._add_unknown_label(row)
        is_named = self._data.split_column is not None
        split = self._split(row) if is_named else row.table.split
        of_document = None if self._data.segments_column is None else parts
        return Document(row.id, row.text, labels, split, of_document, self._group(row))

    def _add_unknown_label(self, row: _Row) -> None:
        if self._data.label_columns:
            rule = f"column {self._data.segments_column!r}: labels of parts must be data.label_columns; another one"
        else:
            column = self._data.labels_column or self._data.segments_column
            rule = f"column {column!r}: labels must be among data.label_names; another one"
        self._faults.add(rule, row.name)

    def _split(self, row: _Row) -> str | None:
        column = self._data.split_column
        split = SPLIT_ALIASES.get(str(row.values.get(column)).strip().lower())  # type: ignore[arg-type]
        if split is None:
            self._faults.add(f"column {column!r} must hold train, validation or test; something else", row.name)
        return split
