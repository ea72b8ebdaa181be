"""A document as an annotation tool wrote it, and what several tools have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from kdh_ray.data.label_cells import CellError

Row = Mapping[str, Any]


class Span(NamedTuple):
    """A marked part of a text: half-open character range and label."""

    begin: int
    end: int
    label: str


@dataclass(frozen=True)
class Annotated:
    """A document with its annotations.

    Attributes:
        row: The row of the export, whose other columns are kept.
        text: The document.
        labels: Labels of the whole document.
        spans: Marked parts of it, which may overlap.
        left_out: The reason why the document is no example, such as ``rejected``; empty if it is one.
        unread: What is said of marks and not read, such as ``the attribute Negation``, once for each mark.
    """

    row: Row
    text: Any
    labels: frozenset[str] = frozenset()
    spans: frozenset[Span] = frozenset()
    left_out: str = ""
    unread: tuple[str, ...] = ()


def marked(begin: Any, end: Any, labels: Iterable[Any], text: Any) -> list[Span]:
    """Return the spans of one marked part with several labels.

    Raises:
        CellError: If the part is not in the text.
    """
    is_range = isinstance(begin, int) and isinstance(end, int) and isinstance(text, str)
    if not is_range or not 0 <= begin < end <= len(text):
        raise CellError("a marked part must be a range of the text's characters; got another one")
    return [Span(begin, end, str(label)) for label in labels]


def is_triples(value: Any) -> bool:
    """Return whether a value is a list of ``[begin, end, label]``."""
    return isinstance(value, list) and all(
        isinstance(each, list | tuple) and len(each) == 3 and isinstance(each[0], int) and isinstance(each[2], str)
        for each in value
    )


def merge_repeated(documents: Iterable[tuple[Any, Annotated]]) -> list[Annotated]:
    """Merge annotations of the same document, such as those of several annotators.

    Args:
        documents: Pairs of what identifies a document and one annotation of it.

    Raises:
        CellError: If annotations of a document differ: which of them holds is for people to decide.
    """
    found: dict[Any, Annotated] = {}
    for key, document in documents:
        before = found.get(key)
        if before is None or before.left_out:
            found[key] = document
        elif not document.left_out and (before.labels, before.spans) != (document.labels, document.spans):
            raise CellError("is annotated several times, with different labels; export one annotation of each document")
    return list(found.values())


def without(row: Row, *columns: str) -> dict[str, Any]:
    """Return a row without some of its columns."""
    return {name: value for name, value in row.items() if name not in columns}


def first_text(row: Row, names: Sequence[str]) -> Any:
    """Return the value of the first of these columns that a row has; None if it has none."""
    return next((row[name] for name in names if name in row), None)
