"""Columns of one label each: 0 and 1 in every notation, and what blank cells and -1 mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from user_tables import by_id, changed, fault, load, rows, write

from kdh_ray.config import parse_data
from kdh_ray.data.binary_columns import BinaryColumns
from kdh_ray.data.class_names import ClassName
from kdh_ray.data.messages import Faults
from kdh_ray.errors import DataError

VALUES = [True, False, False, True, True, False]
CHEXPERT = ["1", "0", "-1", "", "1.0", "-1.0", "0.0", None]


def read(cells: Sequence[Any], **options: Any) -> tuple[list[bool | None], BinaryColumns]:
    faults = Faults()
    columns = BinaryColumns(parse_data({"corpus": "table", **options}), faults)
    values = columns.read("pain", [str(number) for number in range(len(cells))], cells)
    faults.check("table")
    return values, columns


@pytest.mark.parametrize(
    ("yes", "no"),
    [
        (1, 0), (1.0, 0.0), (True, False), ("1", "0"), ("1.0", "0.00"), (" 1 ", "0"), ("TRUE", "False"), ("true", "0"),
        ("yes", "no"), ("Yes", "NO "), ("y", "n"), ("T", "F"), ("positive", "negative"), ("present", "absent"),
        ("x", ""), ("X", None), ("\N{CHECK MARK}", float("nan")),
    ],
)  # fmt: skip
def test_yes_and_no_are_read_in_every_notation(yes: Any, no: Any) -> None:
    assert read([yes if value else no for value in VALUES])[0] == VALUES


def test_words_are_noted() -> None:
    assert read(["yes", "no"])[1].notes() == ["label column 'pain': 'yes' is 1 and 'no' is 0"]
    assert read(["x", ""])[1].notes() == ["label column 'pain': 'x' is 1 and blank is 0"]
    assert read(["true", "0"])[1].notes() == []


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["yes", "no", "1"], "must hold yes or no, as most of its cells do; got 1: row '2'"),
        (
            ["1", "0", "x"],
            "must hold 0 or 1; got another word: row '2'; words are read where the whole column holds them",
        ),
        ([0.3, 0.0, 1.0], "got a number between them, such as a probability: row '0'"),
        (["0.75", "0"], "got a number between them, such as a probability: row '0'"),
        ([2, 0], "got 2: row '0'"),
        ([4711, 0], "got int: row '0'"),
        (["1,0", "0,0"], "got text that is no word: rows '0', '1'"),
        ([[1], 0], "got list: row '0'"),
        (
            ["ja", "nein", "Ja"],
            "label column 'pain' must hold 0 and 1, or one pair of words throughout (yes and no, true and false,"
            " y and n, t and f, positive and negative, present and absent, or x and blank); got another word: rows '0'",
        ),
        (["Y", "N", "y", "maybe"], "must hold y or n, as most of its cells do; got another word: row '3'; words are"),
        (["1", ""], "missing or NaN: row '1'; data.missing: negative reads blank cells as 0"),
        (["1", "None"], "missing or NaN: row '1'"),
        (["1", "-1"], "got -1: row '1'; data.uncertain: negative reads -1 as 0, positive as 1"),
    ],
)
def test_other_cells_are_refused(cells: list[Any], said: str) -> None:
    with pytest.raises(DataError) as caught:
        read(cells)
    assert said in str(caught.value)
    assert "4711" not in str(caught.value)


def test_columns_with_one_fault_share_a_clause(tmp_path: Path) -> None:
    """Each row once, and never the words, which may be a patient's."""
    words = [{**row, "pain": "secret-a", "fever": ("Ja", "Nein")[n % 2]} for n, row in enumerate(rows())]
    message = fault(write(tmp_path / "notes.csv", words))
    assert message.count("must hold") == 2  # text that is no word, and words
    message = fault(write(tmp_path / "notes.csv", [{**row, "pain": "Ja", "fever": "Nein"} for row in words]))
    assert message.count("must hold 0 and 1, or one pair of words") == 1
    assert "label columns 'pain', 'fever' must hold" in message
    assert message.endswith("got another word: 20 rows, first 'd0', 'd1', 'd2'")
    assert "Ja" not in message


@pytest.mark.parametrize(
    ("options", "values"),
    [
        ({"missing": "negative"}, [True, False, False, False, True, False, False, False]),
        ({"missing": "drop"}, [True, False, None, None, True, None, False, None]),
        ({"missing": "negative", "uncertain": "positive"}, [True, False, True, False, True, True, False, False]),
        ({"missing": "negative", "uncertain": "drop"}, [True, False, None, False, True, None, False, False]),
    ],
)
def test_blank_and_uncertain_cells_follow_their_settings(options: dict[str, str], values: list[bool | None]) -> None:
    assert read(CHEXPERT, **options)[0] == values


def test_blank_and_uncertain_cells_are_counted(tmp_path: Path) -> None:
    content = [{**row, "pain": "" if n == 3 else -1 if n == 5 else row["pain"]} for n, row in enumerate(rows())]
    path = write(tmp_path / "notes.csv", content)
    corpus = load(path, missing="negative", uncertain="drop")
    assert corpus.warnings == [
        "cells of label columns that are -1, their documents dropped: 1",
        "cells of label columns that are blank, read as 0: 1",
        "documents left out: 1 with a missing label",
    ]
    assert by_id(corpus)["d3"] == ("Note number 3.", [0, 1])
    assert "d5" not in by_id(corpus)


@pytest.mark.parametrize(
    ("names", "noted"),
    [
        (["0", "1"], ""),
        (["no", "yes"], "'yes' is 1 and 'no' is 0"),
        (["mild", "severe"], "'severe' is 1 and 'mild' is 0"),
    ],
)
def test_classes_of_two_are_0_and_1(names: list[str], noted: str) -> None:
    values, columns = read([ClassName(names[value], int(value)) for value in VALUES])
    assert values == VALUES
    assert "".join(columns.notes()).endswith(noted)


@pytest.mark.parametrize("text", ["", "   ", "\u00a0"])
def test_blank_texts_are_refused_or_dropped(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "notes.jsonl", changed(3, text=text, pain=None))
    message = fault(path)
    assert "column 'text' must hold text; empty: row 'd3'" in message
    assert "data.blank_texts: drop leaves documents without text out; data.missing: negative" in message
    corpus = load(path, blank_texts="drop")
    assert sorted(by_id(corpus)) == sorted(f"d{n}" for n in range(20) if n != 3)
    assert corpus.warnings == ["documents left out: 1 without text"]


def test_blank_rows_of_spreadsheets_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "notes.csv", rows())
    path.write_text(path.read_text() + ",,,\n , ,,\n")
    corpus = load(path)
    assert sum(map(len, corpus.splits.values())) == 20
    assert corpus.warnings == ["documents left out: 2 blank rows"]


def test_words_for_nothing_stay_texts(tmp_path: Path) -> None:
    corpus = load(write(tmp_path / "notes.jsonl", changed(3, text="nan")))
    assert by_id(corpus)["d3"][0] == "nan"
    assert corpus.warnings == ["texts that are only a word for no value, such as nan: 1"]


@settings(deadline=None)
@given(cells=st.lists(st.sampled_from(["1", "0", "", "-1", "yes", "no", "x", "0.3", "nan"]) | st.text(max_size=3)))
def test_any_column_is_read_or_refused(cells: list[str]) -> None:
    try:
        values, _ = read(cells, missing="negative")
    except DataError:
        return
    assert all(isinstance(value, bool) for value in values)
    assert [value for cell, value in zip(cells, values, strict=True) if cell.strip() in ("1", "yes", "x")].count(
        False
    ) == 0
