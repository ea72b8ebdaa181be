"""Cells of a table that hold a document's labelled parts: a list of ``{"text": ..., "labels": [...]}``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from kdh_ray.data.label_cells import CellError

SEPARATOR = " "  # between parts of a document that has no text column


@dataclass(frozen=True)
class Part:
    """A labelled part of a document.

    Attributes:
        begin, end: Half-open character range of the document's text.
        labels: Names of its labels.
    """

    begin: int
    end: int
    labels: frozenset[str]


def parse_parts(cell: Any, text: str | None) -> tuple[str, list[tuple[int, int]], list[Any]]:
    """Read a cell of parts.

    Args:
        cell: A list of objects with ``text`` and ``labels``, or JSON of one. A number ``begin`` says where a part
            begins, for one whose text stands more than once in the document.
        text: The document, in which the parts come in order; the parts joined by a blank if None.

    Returns:
        The document's text; the half-open character range of each part; and each part's labels, unread.

    Raises:
        CellError: If the cell has another form, or a part is not in the text.
    """
    texts, labels, begins = [], [], []
    for item in _items(cell):
        if not isinstance(item, dict) or not isinstance(item.get("text"), str) or not item["text"].strip():
            raise CellError('must hold a list of {"text": ..., "labels": [...]}; a part has no text')
        texts.append(item["text"])
        labels.append(item.get("labels", []))
        begins.append(item.get("begin"))
    document = SEPARATOR.join(texts) if text is None else text
    spans: list[tuple[int, int]] = []
    for part, stated in zip(texts, begins, strict=True):
        after = spans[-1][1] if spans else 0
        begin = document.find(part, max(after, stated) if isinstance(stated, int) else after)
        if begin < 0 or (isinstance(stated, int) and begin != stated):
            raise CellError("must hold parts of the text in their order; a part is not in it")
        spans.append((begin, begin + len(part)))
    return document, spans, labels


def _items(cell: Any) -> list[Any]:
    if isinstance(cell, str):
        try:
            cell = json.loads(cell)
        except (ValueError, RecursionError):
            raise CellError('must hold a list of {"text": ..., "labels": [...]}; got text that is not JSON') from None
    if cell is None or not hasattr(cell, "__len__") or isinstance(cell, dict) or len(cell) == 0:
        raise CellError('must hold a list of {"text": ..., "labels": [...]}; missing or empty')
    return list(cell)
