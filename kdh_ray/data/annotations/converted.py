"""The Parquet that ``kdh-ray corpus convert`` writes: columns id, text, labels, split and, with parts, segments."""

from __future__ import annotations

from kdh_ray.data.annotations.document import Row

COLUMNS = ("id", "text", "labels", "split")


def matches(row: Row) -> bool:
    """Return whether a row has the form of ``convert``'s."""
    return all(name in row for name in COLUMNS) and isinstance(row["labels"], list)
