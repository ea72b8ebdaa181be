"""Label Studio: JSON with the annotations of each task, the shorter JSON-min, and CSV.

{"id": 1, "data": {"text": "..."}, "annotations": [{"result": [{"type": "choices", "value": {"choices": ["pain"]}}]}]}
{"id": 1, "text": "...", "symptom": {"choices": ["pain", "fever"]}, "annotator": 1, "annotation_id": 1, "lead_time": 3}
annotation_id,annotator,created_at,id,lead_time,symptom,text,updated_at
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kdh_ray.data.annotations.document import Annotated, Row, Span, marked, merge_repeated
from kdh_ray.data.label_cells import CellError, is_missing

_OF_THE_TOOL = {
    "id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement", "inner_id", "project",
    "total_annotations", "cancelled_annotations", "predictions", "comments", "file_upload", "drafts",
}  # fmt: skip
_NAMES = ("labels", "choices", "hypertextlabels")  # keys of a value that lists labels
_OTHER_NAMES = ("taxonomy", "ranker")  # and whatever else ends in "labels", such as paragraphlabels
UNFINISHED = "without an annotation"


def matches(row: Row) -> bool:
    """Return whether a row has the form of Label Studio's."""
    return _is_task(row) or ("lead_time" in row and ("annotator" in row or "annotation_id" in row))


def _is_task(row: Row) -> bool:
    return isinstance(row.get("data"), dict) and isinstance(row.get("annotations", row.get("completions")), list)


def text_of(row: Row, text_column: str) -> Any:
    """Return the text of a row; that of a task with one text field, whatever its name."""
    fields = row["data"] if _is_task(row) else row
    if text_column in fields or not _is_task(row):
        return fields.get(text_column)
    texts = [value for value in fields.values() if isinstance(value, str)]
    return texts[0] if len(texts) == 1 else None


def read_all(rows: Sequence[Row], text_column: str) -> list[Annotated]:
    """Read the rows of an export. Annotations of one task must agree, or one must be marked as ground truth.

    Raises:
        CellError: If annotations differ, questions share an answer, or a mark has another form.
    """
    fields = _label_fields([row for row in rows if not _is_task(row)], text_column)
    answers: dict[str, set[str]] = {}
    for row in rows:
        for question, chosen in _answers_of_task(row) if _is_task(row) else _answers_of_row(row, fields):
            answers.setdefault(question, set()).update(chosen)
    _check_questions(answers)
    read = []
    for number, row in enumerate(rows, start=1):
        document = _read_task(row, text_column) if _is_task(row) else _read_short(row, text_column, fields)
        read.append((row.get("id", f"row {number}"), document))
    return merge_repeated(read)


def _read_task(row: Row, text_column: str) -> Annotated:
    text = text_of(row, text_column)
    plain = {**row["data"], "id": row.get("id")}
    done = [each for each in row.get("annotations", row.get("completions")) if not each.get("was_cancelled")]
    chosen = [each for each in done if each.get("ground_truth")] or done
    if not chosen:
        return Annotated(plain, text, left_out=UNFINISHED)
    read = [(None, Annotated(plain, text, *_read_results(each.get("result", []), text))) for each in chosen]
    return merge_repeated(read)[0]


def _read_results(results: Sequence[Any], text: Any) -> tuple[frozenset[str], frozenset[Span]]:
    labels: set[str] = set()
    spans: set[Span] = set()
    for result in results:
        value = result.get("value", {}) if isinstance(result, dict) else {}
        _add(value, text, labels, spans)
    return frozenset(labels), frozenset(spans)


def _check_questions(answers: Mapping[str, Iterable[str]]) -> None:
    """Refuse questions that share an answer, such as two of yes and no: as a label, it would not say to which.

    Args:
        answers: Name of a question -> the choices that were taken.
    """
    asked = Counter(choice for chosen in answers.values() for choice in set(chosen))
    if shared := next((choice for choice, questions in asked.items() if questions > 1), None):
        names = " and ".join(repr(name) for name, chosen in answers.items() if shared in chosen)
        raise CellError(
            f"has the same choices in several questions ({names}); export CSV, and name them as data.label_columns if"
            " they are answered by yes and no, or one of them as data.labels_column"
        )


def _answers_of_task(row: Row) -> Iterator[tuple[str, list[str]]]:
    """Yield each question of a task, and what was chosen for the whole document."""
    for annotation in row.get("annotations", row.get("completions")):
        for result in annotation.get("result", []):
            value = result.get("value", {}) if isinstance(result, dict) else {}
            if "from_name" in result and "choices" in value and "start" not in value:
                yield str(result["from_name"]), list(map(str, value["choices"]))


def _answers_of_row(row: Row, fields: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each question of a row of JSON-min or CSV, and what was chosen for the whole document."""
    for name in fields:
        value = _parse(row.get(name))
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                chosen = item.get("choices", []) if "start" not in item else []
                yield name, list(map(str, chosen)) if isinstance(chosen, list) else [str(chosen)]
            elif not is_missing(item):
                yield name, [str(item)]


def _add(value: Any, text: Any, labels: set[str], spans: set[Span]) -> None:
    """Add the labels of one value: of a part if it has a range, else of the document. Ratings and notes have none."""
    if other := [name for name in value if name in _OTHER_NAMES or (name.endswith("labels") and name not in _NAMES)]:
        raise CellError(f"has annotations of the kind {other[0]}, which is not read: export choices or labels")
    for name in _NAMES:
        names = value.get(name)
        if names is None:
            continue
        if not isinstance(names, list):
            raise CellError(f"{name} must be a list")
        if "start" in value:
            place = value.get("globalOffsets", value)  # of marks in HTML
            spans.update(marked(place.get("start"), place.get("end"), names, text))
        else:
            labels.update(map(str, names))


def _label_fields(rows: Sequence[Row], text_column: str) -> list[str]:
    """Return the columns that hold labels: those that hold choices or marks somewhere, or else the only one left."""
    others = list(dict.fromkeys(name for row in rows for name in row if name not in {*_OF_THE_TOOL, text_column}))
    certain = [name for name in others if any(_is_marked(_parse(row.get(name))) for row in rows)]
    if rows and not certain and len(others) != 1:
        raise CellError("several columns may hold labels; name one as data.labels_column, or export JSON")
    return certain or others


def _is_marked(value: Any) -> bool:
    items = value if isinstance(value, list) else [value]
    return bool(items) and all(isinstance(item, dict) and any(name in item for name in _NAMES) for item in items)


def _read_short(row: Row, text_column: str, fields: Sequence[str]) -> Annotated:
    text = row.get(text_column)
    labels: set[str] = set()
    spans: set[Span] = set()
    for name in fields:
        value = _parse(row.get(name))
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                _add(item, text, labels, spans)
            elif not is_missing(item):
                labels.add(str(item))
    return Annotated(row, text, frozenset(labels), frozenset(spans))


def _parse(cell: Any) -> Any:
    """Return what a cell of CSV holds: JSON, or the name of a label."""
    if isinstance(cell, str) and cell[:1] in "[{":
        try:
            return json.loads(cell) if cell else None
        except (ValueError, RecursionError):
            return cell
    return cell
