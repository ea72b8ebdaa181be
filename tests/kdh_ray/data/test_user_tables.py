"""A user's own tables: what is read, and what is said when they can't be."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdh_ray.data import Corpus, load_corpus
from kdh_ray.errors import ConfigError, DataError

LABELS = ["pain", "fever"]
Rows = list[dict[str, Any]]


def rows(n: int = 20) -> Rows:
    return [{"id": f"d{i}", "text": f"Note number {i}.", "pain": i % 2, "fever": int(i % 3 == 0)} for i in range(n)]


def list_rows(n: int = 20) -> Rows:
    return [
        {"id": row["id"], "text": row["text"], "labels": [label for label in LABELS if row[label]]} for row in rows(n)
    ]


def write(path: Path, content: Rows) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
    elif path.suffix == ".parquet":
        pd.DataFrame(content).to_parquet(path)
    else:
        pd.DataFrame(content).to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


def load(path: Path, **options: Any) -> Corpus:
    chosen = {"id_column": "id", **({} if "labels_column" in options else {"label_columns": LABELS}), **options}
    return load_corpus("table", path, **chosen)


def by_id(corpus: Corpus) -> dict[str, tuple[str, list[int]]]:
    return {
        id_: (text, target.tolist())
        for split in corpus.splits.values()
        for id_, text, target in zip(split.ids, split.texts, split.targets, strict=True)
    }


def fault(path: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        load(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert "Note number" not in message
    return message


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_format_gives_the_same_corpus(tmp_path: Path, suffix: str) -> None:
    corpus = load(write(tmp_path / f"notes{suffix}", rows()))
    assert list(corpus.labels) == LABELS
    assert by_id(corpus) == {row["id"]: (row["text"], [row["pain"], row["fever"]]) for row in rows()}
    assert [len(corpus.splits[name]) for name in ("train", "validation", "test")] == pytest.approx([14, 2, 4], abs=1)


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


def test_saved_dataset_names_its_class_labels(tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

    features = Features({"id": Value("string"), "text": Value("string"), "labels": List(ClassLabel(names=LABELS))})
    content = [{**row, "labels": [LABELS.index(label) for label in row["labels"]]} for row in list_rows(24)]
    parts = {"train": content[:12], "validation": content[12:18], "test": content[18:]}
    DatasetDict({name: Dataset.from_list(part, features=features) for name, part in parts.items()}).save_to_disk(
        str(tmp_path / "saved")
    )
    corpus = load(tmp_path / "saved", labels_column="labels")
    assert list(corpus.labels) == sorted(LABELS)
    assert {name: list(split.ids) for name, split in corpus.splits.items()} == {
        name: [row["id"] for row in part] for name, part in parts.items()
    }
    assert by_id(corpus)["d3"] == ("Note number 3.", [1, 1])


@pytest.mark.parametrize("one", [True, False])
def test_saved_dataset_without_a_label_is_refused(tmp_path: Path, one: bool) -> None:
    """``datasets`` writes -1 where a label is missing, which as a place in a list would be the last label."""
    from datasets import ClassLabel, Dataset, Features, List, Value

    kind = ClassLabel(names=LABELS)
    features = Features({"id": Value("string"), "text": Value("string"), "labels": kind if one else List(kind)})
    content = [
        {"id": row["id"], "text": row["text"], "labels": number if one else [number]}
        for row, number in zip(rows(3), (0, -1, 1), strict=True)
    ]
    Dataset.from_list(content, features=features).save_to_disk(str(tmp_path / "saved"))
    assert fault(tmp_path / "saved", labels_column="labels").endswith("row 'd1'")


def test_parquet_that_names_a_column_twice_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [["d1"], ["x"], ["y"], [1], [0]]
    pq.write_table(
        pa.Table.from_arrays(list(map(pa.array, columns)), ["id", "text", "text", *LABELS]), tmp_path / "n.parquet"
    )
    assert "must name each column once" in fault(tmp_path / "n.parquet")


def test_files_name_splits(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", rows(30)[:10])
    write(tmp_path / "dev.csv", rows(30)[10:20])
    write(tmp_path / "test.csv", rows(30)[20:])
    corpus = load(tmp_path, id_column=None)
    assert list(corpus.splits["validation"].ids) == [f"dev.csv-{n}" for n in range(1, 11)]
    assert list(corpus.splits["test"].texts) == [row["text"] for row in rows(30)[20:]]


def test_split_column_is_followed(tmp_path: Path) -> None:
    names = ["train", "Dev", "TEST", "train"]
    path = write(tmp_path / "notes.csv", [{**row, "part": names[i % 4]} for i, row in enumerate(rows())])
    corpus = load(path, split_column="part")
    assert list(corpus.splits["validation"].ids) == [f"d{i}" for i in range(1, 20, 4)]
    assert len(corpus.splits["train"]) == 10


def test_missing_validation_is_taken_from_training(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", rows(60)[:40])
    write(tmp_path / "test.csv", rows(60)[40:])
    corpus = load(tmp_path)
    assert {name: len(split) for name, split in corpus.splits.items()} == {"train": 35, "validation": 5, "test": 20}
    assert any("validation" in note for note in corpus.notes)


def test_seeded_splits_repeat_and_keep_label_shares(tmp_path: Path) -> None:
    path = write(tmp_path / "notes.csv", rows(400))
    first, again, other = (load(path, sample_seed=seed) for seed in (1, 1, 2))
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
    assert len(sample.splits["train"]) == pytest.approx(280 * {"small": 0.25, "medium": 0.5}[size], rel=0.1)
    assert list(sample.splits["test"].ids) == list(whole.splits["test"].ids)


def changed(place: int, **values: Any) -> Rows:
    content = rows()
    content[place] = {**content[place], **values}
    return content


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (changed(3, text="   "), "column 'text' must hold text; empty: row 'd3'"),
        (changed(3, text=""), "column 'text' must hold text; empty: row 'd3'"),
        (changed(3, pain=None), "label column 'pain' must hold 0 or 1; missing or NaN: row 'd3'"),
        (changed(3, pain=2), "label column 'pain' must hold 0 or 1; got 2: row 'd3'"),
        (changed(3, pain="2"), "label column 'pain' must hold 0 or 1; got 2: row 'd3'"),
        (changed(3, pain="yes"), "label column 'pain' must hold 0 or 1; got str: row 'd3'"),
        (changed(3, pain=float("nan")), "missing or NaN: row 'd3'"),
        (changed(3, id="d4"), "ids must differ; repeated: row 'd4'"),
        ([{**row, "id": None} for row in rows(2)], "column 'id' must hold an id; missing: rows '1', '2'"),
        (changed(3, text=17), "column 'text' must hold strings; got int: row 'd3'"),
        ([{**row, "pain": 0} for row in rows()], "none has label 'pain'"),
        ([{**row, "pain": 1} for row in rows()], "every document there has label 'pain'"),
        ([{**row, "pain": -1} for row in rows()], "20 rows, first 'd0', 'd1', 'd2'"),
        ([{**row, "txet": row["text"], "text": None} for row in rows()], "20 rows"),
        ([{"id": "d0", "pain": 1, "fever": 0}], "lacks column 'text'; it has 3 columns: id, pain, fever"),
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


def test_label_of_the_test_split_alone_is_refused(tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("notes.csv", b"", "is empty"),
        ("notes.csv", b"id,text,pain,fever\n", "has no rows"),
        ("notes.csv", "id,text,pain,fever\nd1,\xfcberall,1,0\n".encode("latin-1"), "must be UTF-8; byte 22, in line 2"),
        ("notes.csv", b"id,text,pain,fever\nd1,x,1\n", "needs 4 fields"),
        ("notes.csv", b'id,text,pain,fever\nd1,"x,1,0\n', "line 2 is malformed"),
        ("notes.csv", b"id,text,text,fever\nd1,x,1,0\n", "name each column once"),
        ("notes.jsonl", b'{"id": 1}\n{"id"\n', "line 2 is not JSON"),
        ("notes.jsonl", b"[1, 2]\n", "line 1 must hold a JSON object; got list"),
        ("notes.parquet", b"PAR1 no", "is not a readable Parquet file"),
        ("notes.xlsx", b"PK", "files end in one of .csv"),
        ("saved/dataset_info.json", b"{}", "is not a readable folder of a saved dataset"),
        ("folder/readme.txt", b"x", "found neither"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    message = fault(file if file.parent == tmp_path else file.parent)
    assert said in message
    assert name.split("/")[0] in message


def test_a_split_in_two_formats_is_refused(tmp_path: Path) -> None:
    for name in ("train.csv", "train.tsv", "test.csv"):
        (tmp_path / name).write_text("text,pain,fever\nx,1,0\n")
    assert "the train split must have one format; got .csv, .tsv" in fault(tmp_path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    assert "no such file or folder" in fault(tmp_path / "absent.csv")


def test_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> bytes:  # as for anyone but root
        raise PermissionError(13, "Permission denied")

    path = write(tmp_path / "notes.csv", rows())
    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert fault(path) == f"{path}: can't be read: Permission denied"


def test_half_a_surrogate_pair_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "notes.jsonl", changed(3, text="\ud83d"))
    assert "line 4 holds half a surrogate pair" in fault(path)
    write(path, changed(3, text="\N{SMILING FACE WITH OPEN MOUTH}"))  # written as two escapes
    assert by_id(load(path))["d3"][0] == "\N{SMILING FACE WITH OPEN MOUTH}"


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


words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(lambda text: text.strip())
# Long enough that every split has documents, and both labels positives and negatives in training, in any order.
documents = st.lists(words, min_size=20, max_size=30)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=documents, suffix=st.sampled_from([".csv", ".tsv", ".jsonl", ".parquet"]))
def test_any_text_survives_every_format(tmp_path: Path, texts: list[str], suffix: str) -> None:
    part = ["train", "train", "dev", "test"]
    content = [
        {**row, "text": text, "part": part[i % 4]} for i, (row, text) in enumerate(zip(rows(30), texts, strict=False))
    ]
    path = tmp_path / f"notes{suffix}"
    if suffix in (".csv", ".tsv"):  # pandas doesn't quote a lone carriage return
        with path.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(
                file, list(content[0]), delimiter="," if suffix == ".csv" else "\t", quoting=csv.QUOTE_ALL
            )
            table.writeheader()
            table.writerows(content)
    else:
        write(path, content)
    assert {id_: text for id_, (text, _) in by_id(load(path, split_column="part")).items()} == {
        row["id"]: row["text"] for row in content
    }


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=300)
    | st.text(max_size=300).map(lambda text: f"id,text,pain,fever\n{text}".encode(errors="ignore")),
    suffix=st.sampled_from([".csv", ".tsv", ".jsonl", ".parquet"]),
)
def test_any_bytes_are_refused_in_one_line(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"notes{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        load(path)
    assert len(str(caught.value).splitlines()) == 1


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
