"""Error messages about columns: names of a header are shown, the first row of a file without one never is."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from user_tables import fault

from kdh_ray.data.messages import is_recognisable_header, listing
from kdh_ray.data.text_blocks import plan_blocks, read_block
from kdh_ray.errors import DataError

FIRST_ROWS_OF_DATA = [
    ["P-00417", "I10.9"],
    ["417", "E11"],
    ["Anna", "Schmidt", "pain"],
    ["Schmidt, Anna", "1957-03-12", "C50"],
    ["12.03.1957", "melanoma"],
    ["My knee hurts at night.", "1", "0"],
    ["anna.schmidt@example.org", "fever"],
    ["Müller", "Ärztin"],
    ["positive", "urgent"],
    ["id", "1957-03-12"],
    ["text", "My knee hurts"],
    ["a" * 40, "label"],
    [""],
]
HEADERS = [
    ["id", "note", "pain", "fever"],
    ["text", "labels"],
    ["doc_id", "NoteText", "split"],
    ["PatientID", "note_text"],
    ["ID", "Beschreibung"],
    ["label", "größe", ""],
]


@pytest.mark.parametrize("row", FIRST_ROWS_OF_DATA)
def test_first_row_of_data_is_no_header(row: list[str]) -> None:
    assert not is_recognisable_header(row)


@pytest.mark.parametrize("names", HEADERS)
def test_usual_headers_are_recognised(names: list[str]) -> None:
    assert is_recognisable_header(names)


def test_json_keys_need_no_usual_word() -> None:
    assert is_recognisable_header(["body", "pain"], are_json_keys=True)
    assert not is_recognisable_header(["body", "My knee hurts at night."], are_json_keys=True)


def write(path: Path, rows: list[list[str]]) -> Path:
    if path.suffix == ".parquet":
        import pandas as pd

        pd.DataFrame(rows[1:], columns=rows[0]).to_parquet(path)
        return path
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",").writerows(rows)
    return path


def faults_of_both_readers(path: Path) -> list[str]:
    """Messages of the reader of training tables and of that of predictions, for columns that are not there."""
    with pytest.raises(DataError) as caught:
        read_block(plan_blocks([str(path)], 4)[0], "zzz_text", "zzz_id")
    return [str(caught.value), fault(path, text_column="zzz_text", id_column="zzz_id", label_columns=["zzz_label"])]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
@pytest.mark.parametrize("row", FIRST_ROWS_OF_DATA[:10])
def test_first_row_of_data_is_never_shown(tmp_path: Path, row: list[str], suffix: str) -> None:
    path = write(tmp_path / f"notes{suffix}", [row, ["x"] * len(row)])
    for message in faults_of_both_readers(path):
        assert f"it has {len(row)} columns, whose names are not shown" in message
        assert not any(value in message.removeprefix(str(path)) for value in row if len(value) > 3)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_recognised_header_is_shown_with_a_hint(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"notes{suffix}", [["id", "zzz_tex", "pain"], ["1", "x", "1"]])
    for message in faults_of_both_readers(path):
        assert "it has 3 columns: id, zzz_tex, pain; did you mean 'zzz_tex'?" in message


def test_keys_of_json_lines_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_text(json.dumps({"body": "secret", "pain": 1}) + "\n")
    for message in faults_of_both_readers(path):
        assert "it has 2 columns: body, pain" in message
        assert "secret" not in message


def test_other_separators_of_fields_are_named(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text("text;pain;fever\nmy knee hurts;1;0\n")
    message = fault(tmp_path / "notes.csv", text_column="zzz_text", delimiter=",")
    assert "it has 1 column, as its fields seem to be separated by ';'" in message
    assert "fever" not in message.partition("it has")[2]
    (tmp_path / "notes.csv").write_text("text;pain;fever\nmy knee, it hurts;1;0\n")
    assert "first row 1, as its fields seem to be separated by ';'" in fault(tmp_path / "notes.csv", delimiter=",")


def test_columns_without_names_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text("id,note,,\n1,x,,\n")
    for message in faults_of_both_readers(tmp_path / "notes.csv"):
        assert "it has 2 columns: id, note" in message
    assert read_block(plan_blocks([str(tmp_path / "notes.csv")], 4)[0], "note", "id") == (["1"], ["x"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    row=st.lists(
        st.text(st.characters(categories=["L", "N", "P", "Zs"]), min_size=9, max_size=40).filter(
            lambda text: text.strip() and not text.replace("_", "").isalnum()
        ),
        min_size=1,
        max_size=4,
        unique_by=str.strip,
    )
)
def test_wild_first_rows_are_never_shown(tmp_path: Path, row: list[str]) -> None:
    path = write(tmp_path / "notes.csv", [row, ["x"] * len(row)])
    for message in faults_of_both_readers(path):
        assert not any(value.strip() in message for value in row)


def test_listings_stay_short() -> None:
    assert listing(["a"], "row") == "row 'a'"
    assert listing("ab", "row") == "rows 'a', 'b'"
    assert listing("abcd", "row") == "4 rows, first 'a', 'b', 'c'"
