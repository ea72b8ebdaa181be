"""Recognition of annotation tools' exports, and their tables in the form of a user's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kdh_ray.config import DataConfig
from kdh_ray.data.annotations import brat, converted, doccano, label_studio, prodigy, spacy
from kdh_ray.data.annotations.answers import uncounted_answers
from kdh_ray.data.annotations.document import Annotated, Row
from kdh_ray.data.annotations.segments import labelled_segments
from kdh_ray.data.label_cells import CellError
from kdh_ray.data.messages import listing
from kdh_ray.data.segmenter import Segmenter
from kdh_ray.data.table import Table
from kdh_ray.errors import DataError

LABELS, SEGMENTS, ID, SPLIT = "labels", "segments", "id", "split"
SAMPLE_ROWS = 100  # that must have a tool's form


@dataclass(frozen=True)
class Tool:
    """A tool's export.

    Attributes:
        name: The tool.
        matches: Returns whether a row has its form.
        text_of: Returns the text of a row, given the name of the text's column.
        read_all: Reads the rows of a file.
    """

    name: str
    matches: Callable[[Row], bool]
    text_of: Callable[[Row, str], Any]
    read_all: Callable[[Sequence[Row], str], list[Annotated]]


def _each(read: Callable[[Row, str], Annotated]) -> Callable[[Sequence[Row], str], list[Annotated]]:
    """Return a function that reads rows one by one, and names the one that can't be read."""

    def read_all(rows: Sequence[Row], text_column: str) -> list[Annotated]:
        documents = []
        for number, row in enumerate(rows, start=1):
            try:
                documents.append(read(row, text_column))
            except CellError as error:
                raise CellError(f"{error}: row {number}") from None
        return documents

    return read_all


def _is_fasttext(row: Row) -> bool:
    return row.keys() == {"text", "labels"}


def _read_fasttext(row: Row, text_column: str) -> Annotated:
    return Annotated({}, row["text"], frozenset(row["labels"]))


TOOLS = {
    tool.name: tool
    for tool in (
        Tool("brat", brat.matches, brat.text_of, _each(brat.read)),
        Tool("label-studio", label_studio.matches, label_studio.text_of, label_studio.read_all),
        Tool("prodigy", prodigy.matches, prodigy.text_of, prodigy.read_all),
        Tool("spacy", spacy.matches, spacy.text_of, _each(spacy.read)),
        Tool(
            "fasttext", lambda row: row.keys() == {"text", "labels"}, lambda row, _: row["text"], _each(_read_fasttext)
        ),
        Tool("doccano", doccano.matches, doccano.text_of, _each(doccano.read)),
    )
}
"""The tools, in the order in which they are tried."""


def find_tool(rows: Sequence[Row], named: str) -> Tool | None:
    """Return the tool that wrote these rows; None if they are a plain table.

    Args:
        rows: Rows of a file.
        named: ``data.format``: a tool, ``auto`` to recognise it, or ``table`` for none.
    """
    if named in TOOLS:
        return TOOLS[named]
    sample = rows[:SAMPLE_ROWS]
    if named != "auto" or not sample:
        return None
    return next((tool for tool in TOOLS.values() if all(map(tool.matches, sample))), None)


def text_of(row: Row, text_column: str) -> Any:
    """Return the text of a row of any tool's export; None if it is of none."""
    tool = find_tool([row], "auto")
    return None if tool is None else tool.text_of(row, text_column)


def interpret(tables: Sequence[Table], data: DataConfig) -> tuple[list[Table], DataConfig, list[str]]:
    """Turn an annotation tool's export into a table, and name its columns where the configuration names none.

    Returns:
        The tables, the configuration for reading them, and notes on what was understood.

    Raises:
        DataError: If ``data.format`` names a tool and the file is of another form, or annotations differ.
    """
    names_labels = data.label_columns or data.labels_column or data.segments_column
    if data.format not in TOOLS and (names_labels or data.format == "table"):
        if data.format == "auto":
            _check_answers(tables)
            _check_columns(tables, data)
        return list(tables), data, []
    if data.format not in TOOLS and all(map(converted.matches, (table.rows[0] for table in tables))):
        return list(tables), _with_columns(data, tables), ["columns as kdh-ray corpus convert writes them"]
    tools = [find_tool(table.rows, data.format) for table in tables]
    tool = tools[0]
    if tool is None or any(each is not tool for each in tools):
        return list(tables), data, []
    segmenter = Segmenter("sentences" if data.segmenter == "auto" else data.segmenter, data.language)
    read = [_read(table, tool, data) for table in tables]
    has_parts = segmenter.rule != "none" and any(document.spans for documents in read for document in documents)
    rewritten = [
        _table(table, documents, data.text_column, segmenter if has_parts else None)
        for table, documents in zip(tables, read, strict=True)
    ]
    return rewritten, _with_columns(data, rewritten), _notes(tool, read, segmenter if has_parts else None)


def _check_answers(tables: Sequence[Table]) -> None:
    """Refuse rows that an annotator rejected where the columns of labels are named, as in any other table."""
    for table in tables:
        if found := uncounted_answers(table.rows):
            column, count = found
            way = "to prodigy to read its answers, or " if column == "answer" else ""
            raise DataError(
                f"{table.source}: column {column!r} rejects or ignores {count} rows, whose labels would count; "
                + ("" if way else "leave them out, or ")
                + f"set data.format {way}to table if it means something else"
            )


def _check_columns(tables: Sequence[Table], data: DataConfig) -> None:
    """Refuse named columns that a tool's export doesn't have; as an export, it needs none."""
    named = [*data.label_columns, *filter(None, (data.labels_column, data.segments_column))]
    for table in tables:
        tool = None if set(named) & set(table.columns) else find_tool(table.rows, "auto")
        if tool is not None:
            raise DataError(
                f"{table.source}: has no {listing(named, 'column')}; it is an export of {tool.name}, whose labels are"
                " read if the settings name no columns of labels"
            )


def _read(table: Table, tool: Tool, data: DataConfig) -> list[Annotated]:
    try:
        return tool.read_all(table.rows, data.text_column)
    except CellError as error:
        raise DataError(f"{table.source}: as an export of {tool.name}: {error}") from None
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(
            f"{table.source}: is no export of {tool.name} ({type(error).__name__}); see data.format"
        ) from None


def _table(table: Table, documents: Sequence[Annotated], text_column: str, segmenter: Segmenter | None) -> Table:
    rows = []
    for document in documents:
        if document.left_out:
            continue
        row = {**document.row, text_column: document.text}
        row[LABELS] = sorted(document.labels | {span.label for span in document.spans})
        if segmenter is not None and isinstance(document.text, str):
            row[SEGMENTS] = labelled_segments(document.text, document.spans, segmenter)
        rows.append(row)
    if not rows:
        raise DataError(f"{table.source}: has no annotated document")
    return replace(table, columns=tuple(dict.fromkeys(name for row in rows for name in row)), rows=rows)


def _with_columns(data: DataConfig, tables: Sequence[Table]) -> DataConfig:
    """Name the columns that tables have and the configuration doesn't name."""
    shared = set.intersection(*(set(table.columns) for table in tables))
    ids = [str(row.get(ID)) for table in tables for row in table.rows if row.get(ID) not in (None, "")]
    has_ids = len(set(ids)) == len(ids) == sum(len(table.rows) for table in tables)
    found: dict[str, Any] = {
        "labels_column": LABELS,
        "segments_column": data.segments_column or (SEGMENTS if SEGMENTS in shared else None),
        "id_column": data.id_column or (ID if has_ids else None),
        "split_column": data.split_column or (SPLIT if all(converted.matches(t.rows[0]) for t in tables) else None),
    }
    return data.model_copy(update=found)


def _notes(tool: Tool, read: Sequence[Sequence[Annotated]], segmenter: Segmenter | None) -> list[str]:
    left_out = Counter(document.left_out for documents in read for document in documents if document.left_out)
    notes = [f"read as an export of {tool.name}"]
    if segmenter is not None:
        notes.append(f"marked parts label the {segmenter.rule} that they are in")
    notes += [f"documents left out, since {reason}: {count}" for reason, count in left_out.items()]
    unread = Counter(kind for documents in read for document in documents for kind in document.unread)
    notes += [f"marks with {kind} count like any other: {count}" for kind, count in sorted(unread.items())]
    return notes
