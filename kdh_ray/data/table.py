"""A table of a user's own: rows, and the split that they belong to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SPLIT_ALIASES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}


@dataclass(frozen=True)
class Table:
    """Rows of one file.

    Attributes:
        source: The file, for messages.
        split: The split that the file's name says, or None.
        columns: Column names in the file's order. Columns with an empty name are not readable.
        rows: One mapping from column to value per row. Messages count rows from 1.
        has_json_keys: Whether column names are keys of JSON objects, so never a row of data.
        understood: What the file was read as, in words.
    """

    source: str
    split: str | None
    columns: tuple[str, ...]
    rows: list[dict[str, Any]]
    has_json_keys: bool = False
    understood: str = ""


def understood_note(tables: Sequence[Table]) -> str:
    """Return what files were read as: ``read as CSV with ';' between fields, cp1252``."""
    kinds = Counter(table.understood for table in tables)
    named = (f"{kind} ({count} files)" if len(kinds) > 1 else kind for kind, count in kinds.items())
    return f"read as {'; '.join(named)}"
