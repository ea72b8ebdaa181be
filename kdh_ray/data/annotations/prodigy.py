"""Prodigy: JSON Lines with an answer to each question.

{"text": "...", "label": "pain", "answer": "reject", "_input_hash": 1}                one question a label
{"text": "...", "options": [{"id": "pain"}], "accept": ["pain"], "answer": "accept"}  a choice of several
{"text": "...", "spans": [{"start": 0, "end": 4, "label": "pain"}], "answer": "accept"}
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from kdh_ray.data.annotations.document import Annotated, Row, Span, marked
from kdh_ray.data.label_cells import CellError, is_missing, list_items

ANSWERS = ("accept", "reject", "ignore")
_QUESTIONS = ("_input_hash", "_task_hash", "label", "accept", "options", "spans")


def matches(row: Row) -> bool:
    """Return whether a row has the form of Prodigy's."""
    return row.get("answer") in ANSWERS and "text" in row and any(name in row for name in _QUESTIONS)


def text_of(row: Row, text_column: str) -> Any:
    """Return the text of a row."""
    return row.get(text_column, row.get("text"))


def read_all(rows: Sequence[Row], text_column: str) -> list[Annotated]:
    """Read the rows of an export, in which a text may stand once for each question about it.

    A rejected label is one that the text does not have. A rejected choice or set of spans says nothing, and the text is
    left out, as an ignored one is.

    Raises:
        CellError: If answers about a text differ.
    """
    tasks: dict[Any, list[Row]] = {}
    for row in rows:
        if row.get("answer") not in ANSWERS:
            raise CellError("answer must be accept, reject or ignore")
        tasks.setdefault(row.get("_input_hash", text_of(row, text_column)), []).append(row)
    return [_read_task(answers, text_column) for answers in tasks.values()]


def _read_task(answers: Sequence[Row], text_column: str) -> Annotated:
    text = text_of(answers[0], text_column)
    given = [row for row in answers if row["answer"] == "accept" or (row["answer"] == "reject" and _is_binary(row))]
    if not given:
        return Annotated(answers[0], text, left_out="rejected or ignored")
    accepted = _agreed(_names(row) for row in given if not _is_binary(row))
    spans = _agreed(_spans(row, text) for row in given if "spans" in row and not _is_binary(row))
    binary = {(str(row["label"]), row["answer"]) for row in given if _is_binary(row)}
    if len({label for label, _ in binary}) < len(binary):
        raise CellError("has a label that is both accepted and rejected")
    return Annotated(answers[0], text, accepted | {label for label, answer in binary if answer == "accept"}, spans)


def _is_binary(row: Row) -> bool:
    return isinstance(row.get("label"), str) and is_missing(row.get("accept"))


def _names(row: Row) -> frozenset[str]:
    """Return the accepted options, by their ids, or by their texts where the ids are only numbers."""
    accepted = row.get("accept")
    accepted = [] if is_missing(accepted) else accepted if isinstance(accepted, list) else list_items(accepted, ";")
    texts = {str(option.get("id")): str(option.get("text", "")) for option in _parsed(row.get("options"))}
    if texts and all(id_.isdecimal() and text for id_, text in texts.items()):
        return frozenset(texts[str(id_)] for id_ in accepted)
    return frozenset(map(str, accepted))


def _parsed(value: Any) -> list[dict[str, Any]]:
    """Return a list of mappings, also from the cell of a CSV."""
    items = [] if is_missing(value) else value if isinstance(value, list) else list_items(value, ";")
    return [item for item in items if isinstance(item, dict)]


def _spans(row: Row, text: Any) -> frozenset[Span]:
    marks = _parsed(row.get("spans"))
    return frozenset(
        span for each in marks for span in marked(each.get("start"), each.get("end"), [each.get("label")], text)
    )


def _agreed(values: Iterable[frozenset[Any]]) -> frozenset[Any]:
    """Return what all answers say; nothing if there are none."""
    distinct = set(values)
    if len(distinct) > 1:
        raise CellError("has answers that differ; export those of one annotator")
    return next(iter(distinct), frozenset())
