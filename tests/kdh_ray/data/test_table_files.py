"""Files of a user's own text: formats that are read, and messages for files that can't be."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from user_tables import LABELS, Rows, by_id, changed, fault, list_rows, load, rows, write

from kdh_ray.data import opening
from kdh_ray.errors import DataError


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_format_gives_the_same_corpus(tmp_path: Path, suffix: str) -> None:
    corpus = load(write(tmp_path / f"notes{suffix}", rows()))
    assert list(corpus.labels) == LABELS
    assert by_id(corpus) == {row["id"]: (row["text"], [row["pain"], row["fever"]]) for row in rows()}
    assert [len(corpus.splits[name]) for name in ("train", "validation", "test")] == pytest.approx([14, 2, 4], abs=1)


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
    """``datasets`` writes -1 where a label is missing, which as an index would be the last label."""
    from datasets import ClassLabel, Dataset, Features, List, Value

    kind = ClassLabel(names=LABELS)
    features = Features({"id": Value("string"), "text": Value("string"), "labels": kind if one else List(kind)})
    content = [
        {"id": row["id"], "text": row["text"], "labels": number if one else [number]}
        for row, number in zip(rows(3), (0, -1, 1), strict=True)
    ]
    Dataset.from_list(content, features=features).save_to_disk(str(tmp_path / "saved"))
    assert fault(tmp_path / "saved", labels_column="labels").endswith("row 'd1'")


def write_features(path: Path, content: Rows, features: Any) -> Path:
    """Write rows with the features of Hugging Face ``datasets``, whose names a Parquet file keeps in its schema."""
    from datasets import Dataset

    dataset = Dataset.from_list(content, features=features)
    if path.suffix == ".parquet":
        dataset.to_parquet(str(path))
    else:
        dataset.save_to_disk(str(path))
    return path


@pytest.mark.parametrize("name", ["hub.parquet", "saved"])
@pytest.mark.parametrize("column", ["one", "many", "parts"])
def test_class_numbers_become_names(tmp_path: Path, name: str, column: str) -> None:
    from datasets import ClassLabel, Features, List, Value

    kind = ClassLabel(names=["fever", "pain"])
    part = {"text": Value("string"), "labels": List(kind)}
    features = Features({"text": Value("string"), "one": kind, "many": List(kind), "parts": List(part)})
    content = [
        {"text": f"Note {n}.", "one": n % 2, "many": [n % 2], "parts": [{"text": f"Note {n}.", "labels": [n % 2]}]}
        for n in range(20)
    ]
    path = write_features(tmp_path / name, content, features)
    chosen: dict[str, Any] = {"segments_column": column} if column == "parts" else {"labels_column": column}
    corpus = load(path, id_column=None, **({"label_columns": ()} | chosen))
    assert list(corpus.labels) == ["fever", "pain"]
    assert all(target == ([0, 1] if int(text[5:-1]) % 2 else [1, 0]) for text, target in by_id(corpus).values())


def test_parquet_without_a_class_is_refused(tmp_path: Path) -> None:
    from datasets import ClassLabel, Features, Value

    features = Features({"id": Value("string"), "text": Value("string"), "labels": ClassLabel(names=LABELS)})
    content = [{"id": f"d{n}", "text": f"Note number {n}.", "labels": n - 1} for n in range(3)]
    path = write_features(tmp_path / "hub.parquet", content, features)
    assert fault(path, labels_column="labels").endswith("row 'd0'")


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


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("notes.csv", b"", "is empty"),
        ("notes.csv", b"id,text,pain,fever\n", "has no rows"),
        ("notes.csv", "id,text,pain,fever\nd1,\xfcberall,1,0\n".encode("latin-1"), "must be UTF-8; byte 22, in line 2"),
        ("notes.csv", b"id,text,pain,fever\nd1,x,1\n", "needs 4 fields"),
        ("notes.csv", b'id,text,pain,fever\nd1,"x,1,0\n', "line 2 is malformed"),
        (
            "notes.csv",
            b"id,,text,,text,fever\nd1,,x,,1,0\n",
            "name each column once; columns 3 and 5 have the same name",
        ),
        ("notes.jsonl", b'{"id": 1}\n{"id"\n', "line 2 is not JSON"),
        ("notes.jsonl", b"[1, 2]\n", "line 1 must hold a JSON object; got list"),
        ("notes.parquet", b"PAR1 no", "is not a readable Parquet file"),
        ("notes.xlsx", b"PK", "is not a readable Excel workbook"),
        ("notes.docx", b"PK", "files end in one of .csv"),
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


def test_split_in_two_formats_is_refused(tmp_path: Path) -> None:
    for name in ("train.csv", "train.tsv", "test.csv"):
        (tmp_path / name).write_text("text,pain,fever\nx,1,0\n")
    assert "the train split must have one format; got .csv, .tsv" in fault(tmp_path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    assert "no such file or folder" in fault(tmp_path / "absent.csv")


def test_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> object:  # as for anyone but root
        raise PermissionError(13, "Permission denied")

    path = write(tmp_path / "notes.csv", rows())
    monkeypatch.setattr(opening, "locate", refuse)
    assert fault(path) == f"{path}: can't be read: Permission denied"


def test_half_a_surrogate_pair_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "notes.jsonl", changed(3, text="\ud83d"))
    assert "line 4 holds half a surrogate pair" in fault(path)
    write(path, changed(3, text="\N{SMILING FACE WITH OPEN MOUTH}"))  # written as two escapes
    assert by_id(load(path))["d3"][0] == "\N{SMILING FACE WITH OPEN MOUTH}"


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
