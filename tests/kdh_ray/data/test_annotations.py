"""Exports of annotation tools: written in each tool's form, they give the same labels and marked parts."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdh_ray.data import load_corpus
from kdh_ray.data.annotations.document import Span
from kdh_ray.data.annotations.segments import labelled_segments
from kdh_ray.data.segmenter import Segmenter
from kdh_ray.errors import DataError

Documents = list[tuple[str, list[str]]]
LABELS = ["cough", "fever", "pain"]
WORD = {"cough": "coughs", "fever": "hot", "pain": "hurts"}


def lines(rows: list[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def table(rows: list[dict[str, Any]]) -> str:
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def label_studio(documents: Documents) -> str:
    tasks = []
    for i, (text, labels) in enumerate(documents):
        choices = {"type": "choices", "from_name": "symptom", "to_name": "text", "value": {"choices": labels}}
        result = [choices] if labels else []
        tasks.append({"id": i, "data": {"text": text}, "annotations": [{"id": i, "result": result}], "predictions": []})
    return json.dumps(tasks)


def label_studio_short(documents: Documents, in_cells: bool = False) -> list[dict[str, Any]]:
    rows = []
    for i, (text, labels) in enumerate(documents):
        cell: Any = {"choices": labels} if len(labels) > 1 else labels[0] if labels else ""
        choice = json.dumps(cell) if in_cells and isinstance(cell, dict) else cell
        rows.append({"id": i, "text": text, "symptom": choice, "annotator": 1, "annotation_id": i, "lead_time": 2.5})
    return rows


def prodigy_binary(documents: Documents) -> str:
    return lines(
        [
            {"text": text, "label": label, "answer": "accept" if label in labels else "reject", "_input_hash": i}
            for i, (text, labels) in enumerate(documents)
            for label in LABELS
        ]
    )


WRITERS: dict[str, Callable[[Documents], str]] = {
    "doccano.jsonl": lambda documents: lines(
        [{"id": i, "text": text, "label": labels} for i, (text, labels) in enumerate(documents)]
    ),
    "doccano.csv": lambda documents: table(
        [{"id": i, "text": t, "label": "#".join(labels), "Comments": ""} for i, (t, labels) in enumerate(documents)]
    ),
    "label-studio.json": label_studio,
    "label-studio-min.json": lambda documents: json.dumps(label_studio_short(documents)),
    "label-studio.csv": lambda documents: table(label_studio_short(documents, in_cells=True)),
    "prodigy-choice.jsonl": lambda documents: lines(
        [
            {"text": t, "accept": labels, "options": [{"id": each} for each in LABELS], "answer": "accept"}
            for t, labels in documents
        ]
    ),
    "prodigy-binary.jsonl": prodigy_binary,
    "prodigy-numbers.jsonl": lambda documents: lines(
        [
            {
                "text": text,
                "options": [{"id": place, "text": label} for place, label in enumerate(LABELS, start=1)],
                "accept": [1 + LABELS.index(label) for label in labels],
                "answer": "accept",
            }
            for text, labels in documents
        ]
    ),
    "prodigy-cells.csv": lambda documents: table(
        [
            {"text": text, "accept": str(labels), "answer": "accept", "_input_hash": i}
            for i, (text, labels) in enumerate(documents)
        ]
    ),
    "spacy.jsonl": lambda documents: lines(
        [{"text": text, "cats": {label: float(label in labels) for label in LABELS}} for text, labels in documents]
    ),
    "spacy-pairs.jsonl": lambda documents: lines(
        [[text, {"cats": {label: float(label in labels) for label in LABELS}}] for text, labels in documents]
    ),
    "spacy.json": lambda documents: json.dumps(
        [[text, {"cats": {label: label in labels for label in LABELS}}] for text, labels in documents]
    ),
    "fasttext.txt": lambda documents: "".join(
        "".join(f"__label__{label} " for label in labels) + f"{text}\n" for text, labels in documents
    ),
}
sentences = st.text("abc äß,;#|\"'", min_size=1, max_size=20).map(str.strip).filter(bool)
label_sets = st.lists(st.sampled_from(LABELS), unique=True, max_size=3).map(sorted)


def read(path: Path, **options: Any) -> dict[str, list[str]]:
    """Return text -> labels of all splits."""
    corpus = load_corpus("table", path, **options)
    return {
        text: [corpus.labels[j] for j in target.nonzero()[0]]
        for split in corpus.splits.values()
        for text, target in zip(split.texts, split.targets, strict=True)
    }


def documents_of(texts: list[str], chosen: list[list[str]]) -> Documents:
    """Return documents of which the first 60 let every split have all labels."""
    usual = [(f"Note {i}.", sorted({LABELS[i % 3], LABELS[(i + i % 2) % 3]})) for i in range(60)]
    return usual + [(f"{i} {text}", labels) for i, (text, labels) in enumerate(zip(texts, chosen, strict=False))]


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(sentences, min_size=1, max_size=4), chosen=st.lists(label_sets, min_size=4, max_size=4))
def test_every_tool_gives_the_same_corpus(tmp_path: Path, name: str, texts: list[str], chosen: list[list[str]]) -> None:
    documents = documents_of(texts, chosen)
    (tmp_path / name).write_text(WRITERS[name](documents), encoding="utf-8")
    tool = name.partition(".")[0].removesuffix("-min").removesuffix("-choice").removesuffix("-binary")
    tool = tool.removesuffix("-numbers").removesuffix("-cells").removesuffix("-pairs")
    assert read(tmp_path / name, format=tool) == dict(documents)
    assert read(tmp_path / name) == dict(documents)


def marked(i: int) -> tuple[str, list[tuple[int, int, str]]]:
    """Return a text of two sentences and the marks in it; the same word also stands where it is not marked."""
    label = LABELS[i % 3]
    text = f"Visit {i}: {WORD[label]} is only a word. Today she {WORD[label]} a lot."
    begin = text.rindex(WORD[label])
    return text, [(begin, begin + len(WORD[label]), label)]


def brat(folder: Path, number: int) -> Path:
    for i in range(number):
        text, marks = marked(i)
        (folder / f"{i:03}.txt").write_text(text)
        entities = [f"T{n}\t{label} {begin} {end}\t{text[begin:end]}\n" for n, (begin, end, label) in enumerate(marks)]
        (folder / f"{i:03}.ann").write_text("".join(entities) + "#1\tAnnotatorNotes T0\tsure\nA1\tNegated T0\n")
    return folder


SPAN_WRITERS: dict[str, Callable[[int], str]] = {
    "doccano.jsonl": lambda number: lines(
        [{"id": i, "text": marked(i)[0], "label": [list(mark) for mark in marked(i)[1]]} for i in range(number)]
    ),
    "doccano-relations.jsonl": lambda number: lines(
        [
            {
                "id": i,
                "text": marked(i)[0],
                "entities": [
                    {"id": 1, "label": label, "start_offset": b, "end_offset": e} for b, e, label in marked(i)[1]
                ],
                "relations": [],
            }
            for i in range(number)
        ]
    ),
    "label-studio.json": lambda number: json.dumps(
        [
            {
                "id": i,
                "data": {"note": marked(i)[0]},
                "annotations": [
                    {
                        "result": [
                            {"type": "labels", "value": {"start": b, "end": e, "labels": [label]}}
                            for b, e, label in marked(i)[1]
                        ]
                    }
                ],
            }
            for i in range(number)
        ]
    ),
    "prodigy.jsonl": lambda number: lines(
        [
            {
                "text": marked(i)[0],
                "spans": [{"start": b, "end": e, "label": label} for b, e, label in marked(i)[1]],
                "answer": "accept",
                "_task_hash": i,
            }
            for i in range(number)
        ]
    ),
    "spacy.json": lambda number: json.dumps(
        [[marked(i)[0], {"entities": [list(mark) for mark in marked(i)[1]]}] for i in range(number)]
    ),
    "brat": lambda number: "",
}


@pytest.mark.parametrize("name", SPAN_WRITERS)
def test_marked_parts_label_their_sentences(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "brat":
        path = brat(tmp_path, 60)
    else:
        path.write_text(SPAN_WRITERS[name](60), encoding="utf-8")
    corpus = load_corpus("table", path)
    assert corpus.labels == tuple(LABELS)
    for split in corpus.splits.values():
        assert split.segments is not None
        for text, target, spans, targets in zip(
            split.texts, split.targets, split.segments.spans, split.segments.targets, strict=True
        ):
            number = int(text.partition(":")[0].removeprefix("Visit "))
            label = LABELS.index(marked(number)[1][0][2])
            assert [text[a:b] for a, b in spans][1].startswith("Today")
            assert targets.argmax(1).tolist() == [0, label]
            assert targets.sum(1).tolist() == [0, 1]
            assert target.nonzero()[0].tolist() == [label]
    assert any("marked parts" in note for note in corpus.notes)


def test_segmenter_none_leaves_labels_of_documents(tmp_path: Path) -> None:
    corpus = load_corpus("table", brat(tmp_path, 60), segmenter="none")
    assert corpus.splits["train"].segments is None
    assert corpus.splits["train"].targets.sum() == len(corpus.splits["train"])


@given(st.lists(st.text("ab. \n", min_size=1), min_size=1, max_size=5), st.data())
def test_every_mark_is_in_a_segment(parts: list[str], data: st.DataObject) -> None:
    text = "".join(parts)
    begin = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(begin + 1, len(text)))
    segments = labelled_segments(text, [Span(begin, end, "pain")], Segmenter("sentences"))
    assert any(part["labels"] for part in segments) or not text[begin:end].strip()
    assert [part["text"] for part in segments if part["text"] != part["text"].strip()] == []


def test_brat_folders_name_splits(tmp_path: Path) -> None:
    for name in ("train", "dev", "test"):
        (tmp_path / name).mkdir()
        brat(tmp_path / name, 12)
    corpus = load_corpus("table", tmp_path)
    assert [len(split) for split in corpus.splits.values()] == [12, 12, 12]


def prodigy(*answers: dict[str, Any]) -> str:
    usual = [{"text": f"Note {i}.", "accept": [LABELS[i % 3]], "answer": "accept"} for i in range(60)]
    return lines([*usual, *answers])


def test_answers_that_say_nothing_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        prodigy(
            {"text": "ignored", "accept": ["pain"], "answer": "ignore"},
            {"text": "rejected", "accept": ["pain"], "answer": "reject"},
        )
    )
    assert not {"ignored", "rejected"} & read(tmp_path / "a.jsonl").keys()
    corpus = load_corpus("table", tmp_path / "a.jsonl")
    assert "documents left out, since rejected or ignored: 2" in corpus.notes


def test_tasks_without_an_annotation_are_left_out(tmp_path: Path) -> None:
    tasks = json.loads(label_studio(documents_of([], [])))
    tasks[0]["annotations"] = []
    tasks[1]["annotations"][0]["was_cancelled"] = True
    tasks[2]["annotations"] = [
        {"result": [{"type": "choices", "value": {"choices": ["pain"]}}], "ground_truth": True},
        {"result": []},
    ]
    (tmp_path / "a.json").write_text(json.dumps(tasks))
    labels = read(tmp_path / "a.json")
    assert not {"Note 0.", "Note 1."} & labels.keys()
    assert labels["Note 2."] == ["pain"]


MARK = {"start": 5, "end": 99, "label": "pain"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", prodigy({"text": "secret", "spans": [MARK], "answer": "accept"}), "must be a range of the text"),
        (
            "a.jsonl",
            prodigy({"text": "Note 1.", "accept": [], "answer": "accept"}),
            "has answers that differ",
        ),
        (
            "a.jsonl",
            lines([{"text": "secret", "cats": {"pain": 0.7}}]),
            "cats must be 0 or 1; got another number: row 1",
        ),
        ("a.jsonl", lines([{"text": "secret", "label": [[0, 99, "pain"]]}]), "must be a range of the text"),
        (
            "a.json",
            json.dumps([{"id": 1, "text": "secret", "a": "x", "b": "y", "lead_time": 1, "annotator": 1}]),
            "several columns may hold labels",
        ),
        (
            "a.json",
            json.dumps(
                [
                    {
                        "id": 1,
                        "data": {"text": "secret"},
                        "annotations": [{"result": [{"value": {"choices": [name]}}]} for name in LABELS],
                    }
                ]
            ),
            "is annotated several times, with different labels",
        ),
    ],
)
def test_doubtful_annotations_are_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        load_corpus("table", tmp_path / name)
    assert "secret" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_attributes_of_marks_are_counted(tmp_path: Path) -> None:
    brat(tmp_path, 30)
    for number in range(3):
        with (tmp_path / f"{number:03}.ann").open("a") as file:
            file.write("A1\tNegation T1\nM2\tCertainty T1 low\n")
    notes = load_corpus("table", tmp_path).notes
    assert "marks with the attribute Negation count like any other: 3" in notes
    assert "marks with the attribute Certainty count like any other: 3" in notes


def test_questions_with_the_same_answers_are_refused(tmp_path: Path) -> None:
    def answers(i: int) -> dict[str, str]:
        return {"pain": "yes" if i % 2 else "no", "fever": "no" if i % 3 else "yes"}

    tasks = [
        {
            "id": i,
            "data": {"text": f"Note {i}."},
            "annotations": [
                {
                    "result": [
                        {"type": "choices", "from_name": question, "value": {"choices": [answer]}}
                        for question, answer in answers(i).items()
                    ]
                }
            ],
        }
        for i in range(30)
    ]
    rows = [
        {"id": i, "text": f"Note {i}.", "lead_time": 1, "annotator": 1}
        | {question: {"choices": [answer]} for question, answer in answers(i).items()}
        for i in range(30)
    ]
    for content in (tasks, rows):
        (tmp_path / "a.json").write_text(json.dumps(content))
        with pytest.raises(DataError, match=r"has the same choices in several questions \('pain' and 'fever'\)"):
            load_corpus("table", tmp_path / "a.json")


@pytest.mark.parametrize("value", [{"taxonomy": [["symptom", "pain"]]}, {"paragraphlabels": ["pain"], "start": "0"}])
def test_other_kinds_of_label_studio_are_refused(tmp_path: Path, value: dict[str, Any]) -> None:
    tasks = json.loads(label_studio(documents_of([], [])))
    tasks[7]["annotations"][0]["result"].append({"type": "x", "value": value})
    (tmp_path / "a.json").write_text(json.dumps(tasks))
    with pytest.raises(DataError, match=f"annotations of the kind {next(iter(value))}, which is not read"):
        load_corpus("table", tmp_path / "a.json")


@pytest.mark.parametrize(
    ("column", "dropped", "kept"),
    [("status", "Discarded", "Validated"), ("labels.responses.status", ["submitted", "draft"], ["submitted"])],
)
def test_discarded_rows_of_argilla_are_refused(tmp_path: Path, column: str, dropped: Any, kept: Any) -> None:
    rows = [
        {"text": f"Note {i}.", "labels": [LABELS[i % 3]], column: dropped if i in (2, 5) else kept} for i in range(30)
    ]
    path = tmp_path / "a.jsonl"
    path.write_text(lines(rows))
    with pytest.raises(DataError, match=f"column '{column}' rejects or ignores 2 rows.*; leave them out, or set"):
        load_corpus("table", path, labels_column="labels")
    assert len(read(path, labels_column="labels", format="table")) == 30
    path.write_text(lines([row for row in rows if row[column] == kept]))
    assert len(read(path, labels_column="labels")) == 28


def test_named_column_that_an_export_lacks_is_explained(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(label_studio(documents_of([], [])))
    with pytest.raises(DataError, match="has no column 'symptom'; it is an export of label-studio, whose labels are"):
        load_corpus("table", tmp_path / "a.json", labels_column="symptom")


def test_brat_text_without_marks_is_named(tmp_path: Path) -> None:
    (brat(tmp_path, 30) / "003.ann").unlink()
    with pytest.raises(DataError, match=r"003: brat needs a .txt and an .ann file"):
        load_corpus("table", tmp_path)


@pytest.mark.parametrize("tool", ["doccano", "label-studio", "prodigy", "spacy"])
def test_another_form_than_the_named_tool_is_refused(tmp_path: Path, tool: str) -> None:
    (tmp_path / "a.jsonl").write_text(lines([{"body": "secret", "pain": 1}] * 30))
    with pytest.raises(DataError) as caught:
        load_corpus("table", tmp_path / "a.jsonl", format=tool)
    assert len(str(caught.value).splitlines()) == 1
    assert "secret" not in str(caught.value)


def test_named_columns_turn_recognition_off(tmp_path: Path) -> None:
    documents = documents_of([], [])
    (tmp_path / "a.jsonl").write_text(
        lines([{"text": text, "label": labels, "own": [*labels, "x"][:1]} for text, labels in documents])
    )
    own = read(tmp_path / "a.jsonl", labels_column="own")
    assert own == {text: labels[:1] for text, labels in documents}
    with pytest.raises(DataError, match="a table needs either"):
        read(tmp_path / "a.jsonl", format="table")
