"""Columns in which annotation tools say that a row's labels do not count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kdh_ray.data.annotations.document import Row

_ANSWERS = {
    "answer": (("reject", "ignore"), ("accept",)),  # Prodigy
    "status": (("Discarded", "Default"), ("Validated", "Edited")),  # Argilla 1
    ".responses.status": (("discarded", "draft"), ("submitted",)),  # Argilla 2, whose columns have a question before it
}
"""Ending of a column's name -> answers that don't count, and those that do."""


def uncounted_answers(rows: Sequence[Row]) -> tuple[str, int] | None:
    """Return a column by which some rows don't count, and their number; None if all rows count.

    A column is a tool's if it holds nothing but the tool's answers.
    """
    for column in dict.fromkeys(name for row in rows for name in row):
        for ending, (uncounted, counted) in _ANSWERS.items():
            if column != ending and not (ending.startswith(".") and column.endswith(ending)):
                continue
            answers = [_listed(row.get(column)) for row in rows]
            count = sum(not set(uncounted).isdisjoint(each) for each in answers)
            if count and {*uncounted, *counted}.issuperset(answer for each in answers for answer in each):
                return column, count
    return None


def _listed(answer: Any) -> list[str]:
    """Return the answers in a cell, of which Argilla has one for each annotator."""
    return [str(each) for each in (answer if isinstance(answer, list) else [answer]) if each not in (None, "")]
