"""Cells of a table that hold a document's labelled parts: a list of ``{"text": ..., "labels": [...]}``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from kdh_ray.data.label_cells import CellError, parse_labels

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


def parse_parts(cell: Any, text: str | None, label_separator: str) -> tuple[str, list[Part]]:
    """Read a cell of parts.

    Args:
        cell: A list of objects with ``text`` and ``labels``, or JSON of one.
        text: The document, in which the parts come in order; the parts joined by a blank if None.
        label_separator: Separates labels that are written as one string.

    Returns:
        The document's text and its parts.

    Raises:
        CellError: If the cell has another form, or a part is not in the text.
    """
    texts, labels = [], []
    for item in _items(cell):
        if not isinstance(item, dict) or not isinstance(item.get("text"), str) or not item["text"].strip():
            raise CellError('must hold a list of {"text": ..., "labels": [...]}; a part has no text')
        texts.append(item["text"])
        labels.append(parse_labels(item.get("labels", []), label_separator))
    document = SEPARATOR.join(texts) if text is None else text
    parts: list[Part] = []
    for part, names in zip(texts, labels, strict=True):
        begin = document.find(part, parts[-1].end if parts else 0)
        if begin < 0:
            raise CellError("must hold parts of the text in their order; a part is not in it")
        parts.append(Part(begin, begin + len(part), names))
    return document, parts


def _items(cell: Any) -> list[Any]:
    if isinstance(cell, str):
        try:
            cell = json.loads(cell)
        except (ValueError, RecursionError):
            raise CellError('must hold a list of {"text": ..., "labels": [...]}; got text that is not JSON') from None
    if cell is None or not hasattr(cell, "__len__") or isinstance(cell, dict) or len(cell) == 0:
        raise CellError('must hold a list of {"text": ..., "labels": [...]}; missing or empty')
    return list(cell)
