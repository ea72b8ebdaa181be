"""spaCy: categories of a text as JSON Lines or as an array of pairs, as its training examples are written.

{"text": "...", "cats": {"pain": 1.0, "fever": 0.0}}
["...", {"cats": {"pain": true}, "entities": [[0, 4, "pain"]]}]     read as a row with "text", "cats" and "entities"
"""

from __future__ import annotations

from typing import Any

from kdh_ray.data.annotations.document import Annotated, Row, is_triples, marked
from kdh_ray.data.label_cells import CellError


def matches(row: Row) -> bool:
    """Return whether a row has the form of spaCy's."""
    return isinstance(row.get("cats"), dict) or ("entities" in row and is_triples(row["entities"]))


def text_of(row: Row, text_column: str) -> Any:
    """Return the text of a row."""
    return row.get(text_column, row.get("text"))


def read(row: Row, text_column: str) -> Annotated:
    """Read one row.

    Raises:
        CellError: If a category is neither 0 nor 1.
    """
    text = text_of(row, text_column)
    cats, entities = row.get("cats") or {}, row.get("entities") or []
    if not isinstance(cats, dict) or not is_triples(entities):
        raise CellError("must have cats, a mapping of labels to 0 or 1, or entities, a list of [begin, end, label]")
    if any(value not in (0, 1) for value in cats.values()):
        raise CellError("cats must be 0 or 1; got another number")
    spans = frozenset(span for begin, end, label in entities for span in marked(begin, end, [label], text))
    return Annotated(row, text, frozenset(name for name, value in cats.items() if value), spans)
