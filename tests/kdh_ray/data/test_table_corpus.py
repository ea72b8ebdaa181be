"""A user's own tables: their columns, labels and splits, and messages for values that can't be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from user_tables import LABELS, Rows, by_id, changed, fault, list_rows, load, rows, write

from kdh_ray.data import load_corpus
from kdh_ray.errors import ConfigError, DataError


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_list_column_equals_label_columns(tmp_path: Path, suffix: str) -> None:
    """In CSV, pandas writes a list as its Python form, which is read back as a list."""
    corpus = load(write(tmp_path / f"notes{suffix}", list_rows()), labels_column="labels")
    assert list(corpus.labels) == sorted(LABELS)
    assert by_id(corpus) == {row["id"]: (row["text"], [row["fever"], row["pain"]]) for row in rows()}


def test_separator_splits_label_strings(tmp_path: Path) -> None:
    content = [{**row, "labels": " | ".join(row["labels"])} for row in list_rows()]
    corpus = load(write(tmp_path / "notes.csv", content), labels_column="labels", label_separator="|")
    assert by_id(corpus)["d3"] == ("Note number 3.", [1, 1])
    assert by_id(corpus)["d2"] == ("Note number 2.", [0, 0])


def test_split_column_is_followed(tmp_path: Path) -> None:
    names = ["train", "Dev", "TEST", "train"]
    path = write(tmp_path / "notes.csv", [{**row, "part": names[i % 4]} for i, row in enumerate(rows())])
    corpus = load(path, split_column="part")
    assert list(corpus.splits["validation"].ids) == [f"d{i}" for i in range(1, 20, 4)]
    assert len(corpus.splits["train"]) == 10


def test_missing_validation_is_taken_from_training(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", rows(60)[:40])
    write(tmp_path / "test.csv", rows(60)[40:])
    corpus = load(tmp_path, split_rule="stratified")
    assert {name: len(split) for name, split in corpus.splits.items()} == {"train": 35, "validation": 5, "test": 20}
    assert any("validation" in note for note in corpus.notes)
    hashed = load(tmp_path)
    assert len(hashed.splits["validation"]) == pytest.approx(5, abs=3)
    assert set(hashed.splits["test"].ids) == set(corpus.splits["test"].ids)


def test_seeded_splits_repeat_and_keep_label_shares(tmp_path: Path) -> None:
    path = write(tmp_path / "notes.csv", rows(400))
    first, again, other = (load(path, sample_seed=seed, split_rule="stratified") for seed in (1, 1, 2))
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()
    for split in first.splits.values():
        np.testing.assert_allclose(split.targets.mean(axis=0), [0.5, 1 / 3], atol=0.04)


def test_same_text_stays_in_one_split(tmp_path: Path) -> None:
    content = [
        {**row, "text": f"Note  Number {i // 4}." if i % 2 else f"note number {i // 4}."}
        for i, row in enumerate(rows(80))
    ]
    corpus = load(write(tmp_path / "notes.csv", content))
    seen = [{text.casefold().split()[-1] for text in split.texts} for split in corpus.splits.values()]
    assert sum(map(len, seen)) == len(set.union(*seen)) == 20


@pytest.mark.parametrize("size", ["small", "medium"])
def test_samples_nest_and_leave_the_test_split(tmp_path: Path, size: str) -> None:
    path = write(tmp_path / "notes.csv", [{**row, "id": f"#{row['id']}"} for row in rows(400)])
    whole, sample, smaller = load(path), load(path, size=size), load(path, size="small")
    assert set(smaller.splits["train"].ids) <= set(sample.splits["train"].ids) < set(whole.splits["train"].ids)
    assert len(sample.splits["train"]) == pytest.approx(
        len(whole.splits["train"]) * {"small": 0.25, "medium": 0.5}[size], rel=0.1
    )
    assert list(sample.splits["test"].ids) == list(whole.splits["test"].ids)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (changed(3, text="   "), "column 'text' must hold text; empty: row 'd3'"),
        (changed(3, text=""), "column 'text' must hold text; empty: row 'd3'"),
        (changed(3, pain=None), "label column 'pain' must hold 0 or 1; missing or NaN: row 'd3'"),
        (changed(3, pain=2), "label column 'pain' must hold 0 or 1; got 2: row 'd3'"),
        (changed(3, pain="2"), "label column 'pain' must hold 0 or 1; got 2: row 'd3'"),
        (changed(3, pain="yes"), "label column 'pain' must hold 0 or 1; got another word: row 'd3'"),
        (changed(3, pain=float("nan")), "missing or NaN: row 'd3'"),
        (changed(3, id="d4"), "ids must differ; repeated: row 'd4'"),
        ([{**row, "id": None} for row in rows(2)], "column 'id' must hold an id; missing: rows '1', '2'"),
        (changed(3, text=17), "column 'text' must hold strings; got int: row 'd3'"),
        ([{**row, "pain": 0} for row in rows()], "none has label 'pain'"),
        ([{**row, "pain": 1} for row in rows()], "every document there has label 'pain'"),
        ([{**row, "pain": -1} for row in rows()], "20 rows, first 'd0', 'd1', 'd2'"),
        ([{**row, "txet": row["text"], "text": None} for row in rows()], "20 rows"),
        ([{"id": "d0", "pain": 1, "fever": 0}], "has no column 'text'; it has 3 columns: id, pain, fever"),
        ([{"id": "d0", "Text": "x", "pain": 1, "fever": 0}], "did you mean 'Text'?"),
    ],
)
def test_bad_values_are_named(tmp_path: Path, content: Rows, said: str) -> None:
    assert said in fault(write(tmp_path / "notes.jsonl", content))


def test_faults_of_all_kinds_come_at_once(tmp_path: Path) -> None:
    content = changed(3, text=" ", pain="?", id="d4")
    message = fault(write(tmp_path / "notes.jsonl", content))
    assert "empty" in message
    assert "0 or 1" in message
    assert "repeated" in message


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (None, "missing or NaN: row 'd3'"),
        ([None], "must be non-empty strings: row 'd3'"),
        (["", "pain"], "must be non-empty strings: row 'd3'"),
        ([0.5], "must be non-empty strings: row 'd3'"),
        ({"pain": 1}, "must be non-empty strings: row 'd3'"),
        ("[{[1]: 2}]", "must hold lists; malformed: row 'd3'"),
        ("[pain]", "must hold lists; malformed: row 'd3'"),
        ("['pain' 'fever']", "must have commas between labels; got none: row 'd3'"),  # a NumPy array's
        ("['pain'\n \"it's bad\"]", "must have commas between labels; got none: row 'd3'"),
        (["x" * 81], "at most 80 characters: row 'd3'"),
    ],
)
def test_bad_lists_are_named(tmp_path: Path, labels: Any, said: str) -> None:
    content = list_rows()
    content[3]["labels"] = labels
    path = write(tmp_path / "notes.jsonl", content)
    assert said in fault(path, labels_column="labels")


def test_text_column_taken_for_labels_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "notes.jsonl", [{**row, "copy": row["text"]} for row in rows()])
    assert "20 labels on 20 documents" in fault(path, labels_column="copy")
    assert "can't come from the text column" in fault(path, labels_column="text")
    assert "can't be the texts" in fault(path, id_column="text")


def test_label_only_in_test_split_is_refused(tmp_path: Path) -> None:
    names = ["train", "train", "dev", "test"]
    content = [{**row, "pain": int(i % 4 == 3), "part": names[i % 4]} for i, row in enumerate(rows())]
    path = write(tmp_path / "notes.csv", content)
    assert "positive document in the training split; only other splits have label 'pain'" in fault(
        path, split_column="part"
    )


@pytest.mark.parametrize("part", ["tset", "", "nan"])
def test_unknown_split_is_named(tmp_path: Path, part: str) -> None:
    content = [{**row, "part": ["train", "dev", "test"][i % 3]} for i, row in enumerate(rows())]
    content[3]["part"] = part
    assert "something else: row 'd3'" in fault(write(tmp_path / "notes.csv", content), split_column="part")


def test_split_without_documents_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "notes.csv", [{**row, "part": ["train", "dev"][i % 2]} for i, row in enumerate(rows())])
    assert "split 'test' has no document" in fault(path, split_column="part")


def test_many_kinds_of_faults_stay_short(tmp_path: Path) -> None:
    path = write(tmp_path / "notes.jsonl", [{**row, "pain": n + 2} for n, row in enumerate(rows())])
    assert fault(path).endswith("row 'd7'; and 12 faults of other kinds")


def test_labels_must_be_chosen_one_way(tmp_path: Path) -> None:
    path = write(tmp_path / "notes.csv", rows())
    assert "got both" in fault(path, labels_column="labels", label_columns=LABELS)
    assert "got neither" in fault(path, label_columns=())
    assert "repeated: column 'pain'" in fault(path, label_columns=["pain", "pain"])


def test_unknown_option_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'text_column'"):
        load_corpus("table", tmp_path, text_colunm="x")


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(json_values, min_size=1, max_size=5))
def test_any_values_are_read_or_refused(tmp_path: Path, values: list[Any]) -> None:
    content = list_rows()
    for place, value in enumerate(values):
        content[place]["labels"] = value
    path = write(tmp_path / "notes.jsonl", content)
    refused = None
    try:
        corpus = load(path, labels_column="labels")
    except DataError as error:
        refused = str(error)
    if refused is not None:
        assert len(refused.splitlines()) == 1
        return
    assert sum(map(len, corpus.splits.values())) == len(content)
    assert all(label == label.strip() != "" for label in corpus.labels)
