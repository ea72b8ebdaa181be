"""Predictions written as CSV and as JSON lines are read again as they were."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdh_ray.data.prediction_rows import csv_content, csv_rows, json_content, read_csv, read_json

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1, max_size=6)


@st.composite
def tables(draw: st.DrawFn) -> tuple[pa.Table, list[tuple[str, list[str], bool]]]:
    labels = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    rows = draw(st.lists(st.tuples(NAMES, st.sets(st.sampled_from(labels)), st.booleans()), min_size=1, max_size=4))
    columns: dict[str, Any] = {
        "id": [id_ for id_, _, _ in rows],
        "labels": pa.array([None if faulty else sorted(found) for _, found, faulty in rows], pa.list_(pa.string())),
    }
    for label in labels:
        columns[f"probability.{label}"] = pa.array([None if faulty else 0.25 for *_, faulty in rows], pa.float32())
    columns["error"] = pa.array(["no text" if faulty else None for *_, faulty in rows], pa.string())
    return pa.table(columns), [(id_, [] if faulty else sorted(found), faulty) for id_, found, faulty in rows]


@given(tables())
@settings(max_examples=50, deadline=None)
def test_rows_are_read_as_they_were(case: tuple[pa.Table, list[tuple[str, list[str], bool]]]) -> None:
    table, rows = case
    assert read_csv(csv_content(csv_rows(table))) == rows
    assert read_json(json_content(table)) == rows


@pytest.mark.parametrize(("label", "cell"), [("pain", "cough;pain"), ("pain; acute", '["cough", "pain; acute"]')])
def test_labels_are_one_cell(label: str, cell: str) -> None:
    columns = {"id": ["a"], "labels": [["cough", label]], "probability.cough": [0.5], f"probability.{label}": [0.75]}
    rows = list(csv_rows(pa.table({**columns, "error": pa.array([None], pa.string())})))
    assert rows[1] == ["a", cell, "0.500000", "0.750000", ""]
