"""Cells that list labels: each form that annotation tools and pandas write is read, and no other becomes a label."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from user_tables import by_id, fault, list_rows, load, write

from kdh_ray.data.label_cells import CellError, check_labels, list_items
from kdh_ray.data.label_separators import find_separator

names = st.text(st.characters(categories=["Lu", "Ll"]), min_size=1, max_size=8)


def parse_labels(cell: Any, separator: str) -> set[str]:
    return set(check_labels(list_items(cell, separator)))


@pytest.mark.parametrize(
    "cell",
    [
        ["pain", "cough"],
        ("pain", "cough"),
        {"choices": ["pain", "cough"]},
        "pain;cough",
        " pain ; cough ;",
        "['pain', 'cough']",
        '["pain", "cough"]',
        "('pain', 'cough')",
        "{'pain', 'cough'}",
        "frozenset({'pain', 'cough'})",
        '{"choices": ["pain", "cough"]}',
        "{'choices': ['pain', 'cough']}",
    ],
)
def test_every_written_list_has_its_labels(cell: Any) -> None:
    assert parse_labels(cell, ";") == {"pain", "cough"}


@pytest.mark.parametrize("cell", [[], "", " ", "[]", "()", "( )", "set()", "frozenset()", '{"choices": []}'])
def test_empty_lists_have_no_labels(cell: Any) -> None:
    assert parse_labels(cell, ";") == set()


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        ("(other)", {"(other)"}),
        ("pain (chronic); p53(wt)", {"pain (chronic)", "p53(wt)"}),
        ("('pain',)", {"pain"}),
        ("('pain')", {"pain"}),
        ('{"choices": "pain"}', {"pain"}),
        (3, {"3"}),
        ([4, 17], {"4", "17"}),
        ([0, 1], {"0", "1"}),
        (r'["\ud83d\ude00", "a\/b"]', {"\N{GRINNING FACE}", "a/b"}),
    ],
)
def test_names_and_numbers_are_labels(cell: Any, labels: set[str]) -> None:
    assert parse_labels(cell, ";") == labels


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("{pain, cough}", "must hold lists; malformed"),
        ("array(['pain'], dtype=object)", "must hold lists; malformed"),
        ("('pain' 'cough')", "must have commas between labels"),
        ([1, 0, 1], "got a list of 0 and 1"),
        ("[0, 0, 1]", "got a list of 0 and 1"),
        ("[0.0, 1.0, 0.0]", "got a list of 0 and 1"),
        ("1;0;0", "got a list of 0 and 1"),
        ([True, False], "got a list of 0 and 1"),
        ("[True]", "got a list of 0 and 1"),
        ("[true, false]", "got a list of 0 and 1"),
        ({"pain": 1}, "must be non-empty strings"),
        ("{}", "must be non-empty strings"),
        ("{'pain': 1, 'cough': 0}", "must be non-empty strings"),
        ('[{"start": 0, "end": 4, "labels": ["pain"]}]', "must be non-empty strings"),
        ("[['pain']]", "must be non-empty strings"),
    ],
)
def test_other_cells_are_refused(cell: Any, said: str) -> None:
    with pytest.raises(CellError, match=said):
        parse_labels(cell, ";")


@settings(deadline=None)
@given(labels=st.sets(names, max_size=5))
def test_any_written_list_is_read_back(labels: set[str]) -> None:
    for write_cell in (repr, json.dumps):
        assert parse_labels(write_cell(list(labels)), ";") == labels
    assert parse_labels(repr(labels), ";") == labels
    assert parse_labels(repr(tuple(labels)), ";") == labels
    assert parse_labels(json.dumps({"choices": list(labels)}), ";") == labels


@settings(deadline=None)
@given(cell=st.text(max_size=30) | st.text("[](){}'\",;: ab01", max_size=30))
def test_any_text_is_read_or_refused(cell: str) -> None:
    try:
        labels = parse_labels(cell, ";")
    except CellError:
        return
    assert all(label == label.strip() != "" for label in labels)


@settings(deadline=None)
@given(labels=st.sets(names, min_size=2, max_size=5), separator=st.sampled_from([",", "|", "#", "\n", "\t", " ", ", "]))
def test_joined_labels_are_recognised(labels: set[str], separator: str) -> None:
    joined = [separator.join(pair) for pair in combinations(sorted(labels), 2)]
    assert find_separator([*labels, *joined]) == (separator.strip(" ") or " ", frozenset(joined))


def test_joined_labels_that_never_stand_apart_are_recognised() -> None:
    joined = [",".join(pair) for pair in combinations(["pain", "fever", "cough", "rash"], 2)]
    assert find_separator(joined) == (",", frozenset(joined))


def test_few_rare_labels_do_not_hide_a_separator() -> None:
    names = ["side-effect", "country", "conspiracy", "rushed", "political"]
    joined = {" ".join(pair) for pair in combinations(names, 2)} | {"religious country"}
    assert find_separator([*names, *joined]) == (" ", frozenset(joined))
    commas = {",".join(each) for each in combinations("abcde", 3)} | {"a,b,f"}
    assert find_separator(commas) == (",", frozenset(commas))


@pytest.mark.parametrize(("labels", "known"), [(["pain,cough"], ["pain", "cough"]), (["0,2", "1"], ["0", "1", "2"])])
def test_known_labels_reveal_a_separator(labels: list[str], known: list[str]) -> None:
    assert find_separator(labels, known) == (",", frozenset(labels[:1]))
    assert find_separator(labels, [*known, labels[0]]) is None


@pytest.mark.parametrize(
    "labels",
    [
        ["Diabetes mellitus, type 1", "Diabetes mellitus, type 2", "Hypertension"],
        [f"{organ}, {side}" for organ in ("lung", "kidney", "eye") for side in ("left", "right")],
        [f"{side} {organ}" for organ in ("lung", "kidney", "eye") for side in ("left", "right")],
        ["hand", "and", "hand and foot"],
        ["pain", "pain-free", "non-pain"],
        ["chest pain", "back pain", "pain", "fever of unknown origin"],
        ["chest pain", "pain", "heart failure"],
        ["C#", "Java"],
        ["pain", "fever"],
        [],
    ],
)
def test_names_with_separators_stay_names(labels: list[str]) -> None:
    assert find_separator(labels) is None


@pytest.mark.parametrize("separator", [",", "|", "#", "\n", " "])
def test_wrong_separator_is_named_with_its_rows(tmp_path: Path, separator: str) -> None:
    content = [{**row, "labels": separator.join(row["labels"])} for row in list_rows()]
    path = write(tmp_path / "notes.csv", content)
    message = fault(path, labels_column="labels")
    assert f"must be separated by ';', the data.label_separator; got {separator!r} between labels" in message
    assert message.endswith("rows 'd3', 'd9', 'd15'")
    assert by_id(load(path, labels_column="labels", label_separator=separator))["d3"][1] == [1, 1]


@pytest.mark.parametrize("write_cell", [repr, json.dumps])
def test_lists_may_hold_names_with_separators(tmp_path: Path, write_cell: Callable[[list[str]], str]) -> None:
    content = list_rows()
    for row in content:
        row["labels"] = write_cell([*row["labels"], *(["pain,fever"] if "pain" in row["labels"] else [])])
    corpus = load(write(tmp_path / "notes.csv", content), labels_column="labels")
    assert list(corpus.labels) == ["fever", "pain", "pain,fever"]
