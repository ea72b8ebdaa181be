"""Columns that list labels: every notation of the same labels gives the same corpus, or is refused with a way out."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from user_tables import fault, load
from user_tables import write as write_table

from kdh_ray.config import parse_data
from kdh_ray.data import Corpus, load_corpus
from kdh_ray.data.label_column import LabelColumn
from kdh_ray.data.messages import Faults
from kdh_ray.errors import DataError

NAMES = ["pain", "fever", "cough"]
SETS = [[name for place, name in enumerate(NAMES) if number >> place & 1] for number in (*range(8), 1, 2, 4, 0) * 2]
HOT = [[int(name in each) for name in NAMES] for each in SETS]
PLACES = [[NAMES.index(name) for name in each] for each in SETS]


def write_cells(path: Path, cells: Sequence[Any]) -> Path:
    """Write a table whose ``labels`` are the cells, as CSV or JSON Lines."""
    rows = [{"id": f"d{n}", "text": f"Note number {n}.", "labels": cell} for n, cell in enumerate(cells)]
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".jsonl":
            file.writelines(json.dumps(row) + "\n" for row in rows)
        else:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    return path


def read(path: Path, cells: Sequence[Any], **options: Any) -> Corpus:
    return load(write_cells(path, cells), labels_column="labels", **options)


def labels_of(corpus: Corpus) -> dict[str, set[str]]:
    return {
        id_: {label for label, value in zip(corpus.labels, target, strict=True) if value}
        for split in corpus.splits.values()
        for id_, target in zip(split.ids, split.targets, strict=True)
    }


def expected(sets: Sequence[Sequence[str]]) -> dict[str, set[str]]:
    return {f"d{n}": set(each) for n, each in enumerate(sets)}


def read_column(cells: Sequence[Any], names: Sequence[str] = (), **options: Any) -> list[Any]:
    """Read a column without a file; raises a DataError of all faults."""
    faults = Faults()
    column = LabelColumn("labels", parse_data({"corpus": "table", **options}), tuple(names), faults)
    labels = column.read([str(number) for number in range(len(cells))], cells)
    faults.check("table")
    return labels


NOTATIONS: dict[str, Callable[[list[str]], Any]] = {
    "JSON": json.dumps,
    "JSON in JSON": lambda labels: json.dumps(json.dumps(labels)),
    "list": repr,
    "tuple": lambda labels: repr(tuple(labels)),
    "set": lambda labels: repr(set(labels)),
    "frozenset": lambda labels: repr(frozenset(labels)),
    "choices": lambda labels: json.dumps({"choices": labels}),
    "choices, one as text": lambda labels: labels[0] if len(labels) == 1 else json.dumps({"choices": labels}),
    "choices of regions": lambda labels: json.dumps([{"choices": [label]} for label in labels]),
    "separated": ";".join,
    "separated and quoted": lambda labels: " ; ".join(f'"{label}"' for label in labels),
    "ends with the separator": lambda labels: "".join(f"{label};" for label in labels),
}
wild_names = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=12).filter(
    lambda name: name.strip() == name and any(map(str.isalpha, name)) and not set(name) & set("[](){};'\"\\")
)


@pytest.mark.parametrize("notation", NOTATIONS)
def test_every_notation_gives_the_same_labels(tmp_path: Path, notation: str) -> None:
    corpus = read(tmp_path / "notes.csv", [NOTATIONS[notation](each) for each in SETS])
    assert labels_of(corpus) == expected(SETS)


@settings(deadline=None, max_examples=60)
@given(
    sets=st.lists(st.sets(st.text("abcdefghij", min_size=3, max_size=8), max_size=4), min_size=1, max_size=8),
    notation=st.sampled_from(sorted(NOTATIONS)),
)
def test_written_labels_are_read_back(sets: list[set[str]], notation: str) -> None:
    read_back = read_column([NOTATIONS[notation](sorted(each)) for each in sets])
    assert [{label.strip('"') for label in each} for each in read_back] == sets


@settings(deadline=None, max_examples=60)
@given(
    sets=st.lists(st.sets(wild_names, max_size=4), min_size=1, max_size=8), write=st.sampled_from([repr, json.dumps])
)
def test_lists_of_wild_names_are_read_back(sets: list[set[str]], write: Callable[[list[str]], str]) -> None:
    cells = [write(sorted(each)) for each in sets]
    try:
        read_back = read_column(cells)
    except DataError:  # "NA" and the like, or "x" in every list
        read_back = read_column(cells, sorted(set().union(*sets)))
    assert [set(each) for each in read_back] == sets


HOT_NOTATIONS: dict[str, Callable[[list[int]], Any]] = {
    "list": repr,
    "floats": lambda hot: repr([float(value) for value in hot]),
    "booleans": lambda hot: repr([bool(value) for value in hot]),
    "JSON booleans": lambda hot: json.dumps([bool(value) for value in hot]),
    "NumPy": lambda hot: f"[{' '.join(map(str, hot))}]",
    "NumPy floats": lambda hot: f"[{' '.join(f'{value}.' for value in hot)}]",
    "NumPy booleans": lambda hot: f"[{' '.join(str(bool(value)) for value in hot)}]",
    "blanks": lambda hot: " ".join(map(str, hot)),
    "commas": lambda hot: ", ".join(map(str, hot)),
    "separator": lambda hot: ";".join(map(str, hot)),
    "digits": lambda hot: "".join(map(str, hot)),
}


@pytest.mark.parametrize("notation", HOT_NOTATIONS)
def test_lists_of_0_and_1_need_names(tmp_path: Path, notation: str) -> None:
    cells = [HOT_NOTATIONS[notation](each) for each in HOT]
    assert labels_of(read(tmp_path / "notes.csv", cells, label_names=NAMES)) == expected(SETS)
    message = fault(tmp_path / "notes.csv", labels_column="labels")
    assert "got a list of 0 and 1 (name the labels in data.label_names" in message


@settings(deadline=None, max_examples=60)
@given(data=st.data(), notation=st.sampled_from(sorted(HOT_NOTATIONS)), n=st.integers(2, 6))
def test_any_list_of_0_and_1_is_read_or_refused(data: st.DataObject, notation: str, n: int) -> None:
    hot = data.draw(st.lists(st.lists(st.integers(0, 1), min_size=n, max_size=n), min_size=1, max_size=8))
    names = [f"label {letter}" for letter in "abcdef"[:n]]
    cells = [HOT_NOTATIONS[notation](each) for each in hot]
    assert read_column(cells, names) == [
        [name for name, value in zip(names, each, strict=True) if value] for each in hot
    ]  # fmt: skip
    with pytest.raises(DataError, match=r"0 and 1|got only"):
        read_column(cells)


@pytest.mark.parametrize("write", [lambda places: places, lambda places: ";".join(map(str, places))])
def test_class_numbers_take_their_names(tmp_path: Path, write: Callable[[list[int]], Any]) -> None:
    cells = [write(each) for each in PLACES]
    corpus = read(tmp_path / "notes.jsonl", cells, label_names=NAMES)
    assert (list(corpus.labels), labels_of(corpus)) == (NAMES, expected(SETS))
    assert "column 'labels': numbers are places, counted from 0, in data.label_names" in corpus.notes
    message = fault(tmp_path / "notes.jsonl", labels_column="labels")
    assert "labels must be names; got only numbers from 0 to 2, as of classes (data.label_names gives" in message
    meant = load(tmp_path / "notes.jsonl", labels_column="labels", label_names=["0", "1", "2"])
    assert (list(meant.labels), meant.warnings) == (["0", "1", "2"], [])


@pytest.mark.parametrize(
    ("cells", "refused"),
    [
        ([[0], [3], [1, 2]], True),
        ([0, 3, 1], True),
        (["0;2", "1", "2"], True),
        ([[401], [250]], False),
        ([0, 9], False),
    ],
)
def test_numbers_that_look_like_places_are_refused(tmp_path: Path, cells: list[Any], refused: bool) -> None:
    content = [{"id": f"d{n}", "text": f"text {n}", "labels": cells[n % len(cells)]} for n in range(20)]
    for name in ("notes.jsonl", "notes.parquet"):
        path = write_table(tmp_path / name, content)
        if refused:
            assert "labels must be names" in fault(path, labels_column="labels")
        else:
            assert load(path, labels_column="labels").warnings == []


def test_two_labels_tell_places_from_0_and_1() -> None:
    names = ["pain", "fever"]
    assert read_column([[0, 1], [1, 1], [1, 0]], names) == [["fever"], ["pain", "fever"], ["pain"]]
    assert read_column([[0, 1], [], [0], [1]], names) == [["pain", "fever"], [], ["pain"], ["fever"]]


def test_names_that_are_numbers_stay_names() -> None:
    assert read_column([[401, 250], ["250"]], ["250", "401"]) == [["401", "250"], ["250"]]
    assert read_column([3.0, "4.0"]) == [["3"], ["4"]]


@pytest.mark.parametrize(
    ("cells", "names", "said"),
    [
        ([[1, 0, 1]], ["pain", "fever"], "need one for each of the 2 data.label_names; got 3"),
        ([[0, 2]], ["pain", "fever"], "from 0 to 1; got a greater one"),
        ([0.3], [], "must be non-empty strings"),
        (["0.3;0.7"], [], "a fraction, such as a probability"),
        ([[-1]], [], "got a negative number"),
        ([0, 1, 1], [], "got only 0, 1 (a column of one label's 0 and 1 belongs in data.label_columns"),
        (["yes", "No"], [], "got only no, yes"),
        (["True", "False"], [], "got only false, true"),
        (["['pain', 'fever'"], [], "must hold lists; malformed"),
        (["['pain' 'fever']"], [], "must have commas between labels"),
        ([{"taxonomy": [["pain"]]}], [], "must be non-empty strings"),
        (["Index(['pain', 'fever'], dtype='str')"], [], "must hold lists; malformed"),
    ],
)
def test_what_is_no_label_is_refused(cells: list[Any], names: list[str], said: str) -> None:
    with pytest.raises(DataError) as caught:
        read_column(cells, names)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["pain:1;fever:0", "pain:0;fever:1"], "a value after each name"),
        (["pain=yes", "fever = NO"], "a value after each name"),
        (["pain (0.91)", "fever (.5); pain (0.3)"], "a value after each name"),
        ([["pain: 0.91"], ["fever: 1.0"]], "a value after each name"),
        (["1. pain; 2. fever", "1. fever"], "numbers before them"),
        (["1) pain;2) fever", "1) Fever"], "numbers before them"),
        (["(pain, fever)", "(pain)"], "brackets around several of them"),
        (["(pain;fever)", "(fever;cough;pain)"], "brackets around several of them"),
        (["<li>pain</li><li>fever</li>", "<li>pain</li>"], "HTML"),
        (["pain&#59;fever", "fever"], "HTML"),
        (["heart &amp lungs", "fever"], "HTML"),
    ],
)
def test_labels_with_more_than_a_name_are_refused(cells: list[Any], said: str) -> None:
    with pytest.raises(DataError, match=re.escape(f"labels must be plain names; got {said} (where these are")):
        read_column(cells)


@pytest.mark.parametrize(
    "names",
    [
        ["1. Infections", "2. Injuries", "10. Others"],
        ["stage 0", "stage 1"],
        ["HLA-B:27", "BRAF:V600E"],
        ["R&D", "A & E", "< 5 years", "<b"],
        ["a) pain", "b) fever"],
        ["(other)", "pain"],
        ["Diabetes (type 1)", "Diabetes (type 2)"],
        ["pain:1", "fever"],
    ],
)
def test_names_with_signs_and_numbers_stay_names(names: list[str]) -> None:
    assert read_column([[name] for name in names]) == [[name] for name in names]


def test_named_labels_may_look_like_values() -> None:
    assert read_column(["T:0;N:1", "T:1"], ["T:0", "T:1", "N:1"]) == [["T:0", "N:1"], ["T:1"]]


def test_refusals_say_what_a_cell_looks_like(tmp_path: Path) -> None:
    message = str(fault(write_cells(tmp_path / "notes.csv", ["[pain, cough]"]), labels_column="labels"))
    assert message.endswith(
        """a cell lists labels as ["a", "b"], or as names with ';' between them (data.label_separator)"""
    )


@pytest.mark.parametrize("cell", ["nan", "NaN", "None", "null", "<NA>", "N/A", None, ["pain", None], "pain;nan"])
def test_missing_labels_follow_their_setting(cell: Any) -> None:
    with pytest.raises(DataError, match=r"see data\.missing|non-empty"):
        read_column([cell, "pain"])
    left = ["pain"] if "pain" in (cell or "") else []
    assert read_column([cell, "pain"], missing="negative") == [left, ["pain"]]
    assert read_column([cell, "", "pain", "[]"], missing="drop") == [None, None, ["pain"], []]


def test_a_label_may_be_called_none() -> None:
    assert read_column(["none", "pain"]) == [["none"], ["pain"]]
    assert read_column(["None", "pain"], ["pain", "None"]) == [["None"], ["pain"]]


@pytest.mark.parametrize("cell", ["", " ", ";", "[]", "[ ]", "()", "set()", [], [""], "['']", '{"choices": []}'])
def test_no_label_is_written_in_many_ways(cell: Any) -> None:
    assert read_column([cell, "pain"]) == [[], ["pain"]]


def test_dropped_documents_are_counted(tmp_path: Path) -> None:
    cells = [None, [], *(["pain"], ["fever"], ["pain", "fever"]) * 7]
    corpus = read(tmp_path / "notes.jsonl", cells, missing="drop", without_labels="drop")
    assert sum(map(len, corpus.splits.values())) == 21
    assert "documents left out: 1 with a missing label, 1 without a label" in corpus.warnings
    message = fault(write_cells(tmp_path / "none.jsonl", [[], []]), labels_column="labels", without_labels="drop")
    assert "has no documents; left out: 2 without a label" in message


def test_one_label_has_one_spelling(tmp_path: Path) -> None:
    cells = ["Pain", "pain", " pain ", "'pain'", "chest  pain", "chest\u00a0pain", "caf\u00e9", "cafe\u0301"]
    corpus = read(tmp_path / "notes.csv", [cells[n % 8] for n in range(40)])
    assert list(corpus.labels) == ["caf\u00e9", "chest pain", "pain"]
    assert "labels are read in one spelling: \"'pain'\" as 'pain', 'Pain' as 'pain'" in corpus.warnings[0]


def test_named_labels_keep_their_case(tmp_path: Path) -> None:
    cells = ["p53", "P53", "PAIN"] * 10
    corpus = read(tmp_path / "notes.csv", cells, label_names=["P53", "p53", "Pain"])
    assert labels_of(corpus)["d0"] == {"p53"}
    assert labels_of(corpus)["d2"] == {"Pain"}
    assert corpus.warnings == ["labels are read in one spelling: 'PAIN' as 'Pain'"]


def test_labels_outside_the_named_ones_are_refused(tmp_path: Path) -> None:
    path = write_cells(tmp_path / "notes.csv", ["pain", "fever", "paim"] * 7)
    message = fault(path, labels_column="labels", label_names=["pain", "fever"])
    assert "labels must be among data.label_names; another one: 7 rows, first 'd2'" in message
    assert "paim" not in message


@pytest.mark.parametrize(
    "separator", [",", "|", " ", "\t", "\n", "/", " + ", "::", " and ", "<br>", "_", "\N{IDEOGRAPHIC COMMA}"]
)
def test_separators_are_recognised_or_set(tmp_path: Path, separator: str) -> None:
    path = write_cells(tmp_path / "notes.csv", [separator.join(each) for each in SETS])
    message = fault(path, labels_column="labels")
    named = separator if separator == " and " else separator.strip(" ") or " "
    assert f"must be separated by ';', the data.label_separator; got {named!r} between labels" in message
    assert labels_of(load(path, labels_column="labels", label_separator=named)) == expected(SETS)


def test_separators_of_parts_and_of_any_case_are_recognised() -> None:
    with pytest.raises(DataError, match=r"got ',' between labels .*: row '0'"):
        read_column(["Pain, cough", "pain", "cough"])
    faults = Faults()
    column = LabelColumn("parts", parse_data({"corpus": "table"}), (), faults)
    column.read(["a", "a", "b", "b"], ["pain,cough", "pain", "cough", ""])  # two parts of each document
    assert list(faults.rows.values()) == [["a"]]


def test_named_labels_show_the_separator(tmp_path: Path) -> None:
    path = write_cells(tmp_path / "notes.csv", [",".join(map(str, each)) for each in PLACES])
    assert "got ',' between labels" in fault(path, labels_column="labels", label_names=NAMES)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cells=st.lists(st.text(max_size=12) | st.sampled_from(["1", "0", "nan", "[]", "pain", "Pain "]), min_size=8))
def test_any_column_is_read_or_refused(tmp_path: Path, cells: list[str]) -> None:
    path = write_cells(tmp_path / "notes.jsonl", cells)
    try:
        corpus = load(path, labels_column="labels")
    except DataError:
        fault(path, labels_column="labels")  # of one line
        return
    assert len({label.lower() for label in corpus.labels}) == len(corpus.labels)


@pytest.mark.parametrize("answer", ["reject", "ignore"])
def test_rejected_answers_do_not_count(tmp_path: Path, answer: str) -> None:
    rows = [
        {"text": f"Note number {n}.", "label": "pain" if n % 2 else "fever", "answer": answer if n < 2 else "accept"}
        for n in range(30)
    ]
    path = tmp_path / "notes.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    message = fault(path, id_column=None, labels_column="label")
    assert "column 'answer' rejects or ignores 2 rows, whose labels would count; set data.format to prodigy" in message
    read_as_such = load_corpus("table", path, format="prodigy")
    assert sum(int(split.targets.sum()) for split in read_as_such.splits.values()) == 28
    assert len(labels_of(load(path, id_column=None, labels_column="label", format="table"))) == 30


def test_cells_of_the_guide_are_read() -> None:
    guide = Path(__file__).parents[3] / "docs" / "guides" / "label-cells.md"
    lines = guide.read_text(encoding="utf-8").partition("| cell |")[2].partition("\n\n")[0].splitlines()[2:]
    cells = [cell for line in lines for cell in re.findall("`([^`]+)`", line.split("|")[1])]
    assert len(cells) == 11
    for cell in cells:
        assert set(read_column([cell], ["pain", "fever", "cough"])[0]) == {"pain", "cough"}
