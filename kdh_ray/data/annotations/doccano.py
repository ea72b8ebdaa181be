"""doccano: JSON Lines and CSV, with labels of documents or marked parts.

{"id": 1, "text": "...", "label": ["pain", "fever"]}           text classification
{"id": 1, "text": "...", "label": [[0, 4, "pain"]]}            sequence labelling
{"id": 1, "text": "...", "entities": [{"start_offset": 0, "end_offset": 4, "label": "pain"}], "relations": []}
id,text,label,Comments                                         CSV, in which "#" separates labels
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kdh_ray.data.annotations.document import Annotated, Row, Span, first_text, is_triples, marked
from kdh_ray.data.label_cells import CellError

SEPARATOR = "#"
_TEXT = ("text", "data")
_LABELS = ("label", "labels")


def matches(row: Row) -> bool:
    """Return whether a row has the form of doccano's."""
    if not isinstance(first_text(row, _TEXT), str):
        return False
    labels = first_text(row, _LABELS)
    if isinstance(labels, str):
        return "Comments" in row and "label" in row
    return is_triples(labels) or _is_names(labels) or _is_entities(row.get("entities"))


def text_of(row: Row, text_column: str) -> Any:
    """Return the text of a row."""
    return first_text(row, (text_column, *_TEXT))


def read(row: Row, text_column: str) -> Annotated:
    """Read one row.

    Raises:
        CellError: If its labels have another form.
    """
    text = text_of(row, text_column)
    labels = first_text(row, _LABELS)
    if isinstance(labels, str):
        return Annotated(row, text, frozenset(name.strip() for name in labels.split(SEPARATOR) if name.strip()))
    spans = frozenset(_spans(row, labels, text))
    if spans or is_triples(labels) or labels is None:
        if labels is None and not _is_entities(row.get("entities")):
            raise CellError("has neither labels nor entities")
        return Annotated(row, text, spans=spans)
    if not _is_names(labels):
        raise CellError("label must be a list of names or of [begin, end, name]")
    return Annotated(row, text, frozenset(labels))


def _spans(row: Row, labels: Any, text: Any) -> Iterator[Span]:
    if is_triples(labels):
        for begin, end, label in labels:
            yield from marked(begin, end, [label], text)
    if _is_entities(row.get("entities")):
        for each in row["entities"]:
            yield from marked(each["start_offset"], each["end_offset"], [each["label"]], text)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_entities(value: Any) -> bool:
    keys = {"start_offset", "end_offset", "label"}
    return isinstance(value, list) and all(isinstance(each, dict) and keys <= each.keys() for each in value)
