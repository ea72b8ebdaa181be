"""Tables whose documents come in labelled parts."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdh_ray.data import Corpus, load_corpus
from kdh_ray.data.label_cells import CellError
from kdh_ray.data.table_parts import parse_parts
from kdh_ray.errors import DataError

PARTS = [{"text": "She coughs.", "labels": ["cough"]}, {"text": "No fever.", "labels": []}]
TEXTS = st.lists(st.text(min_size=1).filter(lambda text: text.strip()), min_size=1, max_size=6)


def rows(n: int = 20) -> list[dict[str, Any]]:
    """Return documents of two parts, every second with a cough and every third with fever."""
    return [
        {
            "id": f"d{i}",
            "parts": [
                {"text": f"Visit {i}.", "labels": ["cough"] if i % 2 else []},
                {"text": f"Seen on day {i}.", "labels": ["fever"] if i % 3 == 0 else []},
            ],
        }
        for i in range(n)
    ]


def load(path: Path, **options: Any) -> Corpus:
    return load_corpus("table", path, id_column="id", segments_column="parts", **options)


@pytest.mark.parametrize("name", ["notes.jsonl", "notes.jsonl.gz", "notes.parquet", "notes.csv"])
def test_parts_become_labelled_segments(tmp_path: Path, name: str) -> None:
    path, content = tmp_path / name, rows()
    if name.endswith(".parquet"):
        pd.DataFrame(content).to_parquet(path)
    elif name.endswith(".csv"):
        pd.DataFrame([{**row, "parts": json.dumps(row["parts"])} for row in content]).to_csv(path, index=False)
    else:
        lines = "".join(json.dumps(row) + "\n" for row in content).encode()
        path.write_bytes(gzip.compress(lines) if name.endswith(".gz") else lines)
    corpus = load(path)
    assert corpus.labels == ("cough", "fever")
    for split in corpus.splits.values():
        assert split.segments is not None
        for i, (id_, text) in enumerate(zip(split.ids, split.texts, strict=True)):
            number = int(id_[1:])
            assert text == f"Visit {number}. Seen on day {number}."
            spans, targets = split.segments.spans[i], split.segments.targets[i]
            assert [text[a:b] for a, b in spans] == [f"Visit {number}.", f"Seen on day {number}."]
            assert targets.tolist() == [[number % 2, 0], [0, int(number % 3 == 0)]]
            assert split.targets[i].tolist() == targets.max(0).tolist()


def test_parts_are_found_in_the_text(tmp_path: Path) -> None:
    content = [{**row, "text": f"NOTE: {row['parts'][0]['text']}\n\n{row['parts'][1]['text']}"} for row in rows()]
    (tmp_path / "notes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
    split = load(tmp_path / "notes.jsonl").splits["train"]
    assert split.segments is not None
    (begin, _), (_, end) = split.segments.spans[0]
    assert split.texts[0].startswith("NOTE: ")
    assert (begin, end) == (6, len(split.texts[0]))


@given(TEXTS)
def test_joined_parts_keep_their_texts(texts: list[str]) -> None:
    document, spans, _ = parse_parts([{"text": text, "labels": []} for text in texts], None)
    assert [document[begin:end] for begin, end in spans] == texts


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (None, "missing or empty"),
        ([], "missing or empty"),
        ("She coughs.", "not JSON"),
        ([{"text": " ", "labels": []}], "a part has no text"),
        ([{"labels": []}], "a part has no text"),
        (["She coughs."], "a part has no text"),
    ],
)
def test_other_cells_are_refused(cell: Any, message: str) -> None:
    with pytest.raises(CellError, match=message):
        parse_parts(cell, None)


def test_a_part_outside_the_text_is_refused() -> None:
    with pytest.raises(CellError, match="a part is not in it"):
        parse_parts(PARTS, "No fever. She coughs.")


def test_a_damaged_gzip_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.jsonl.gz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match="is not an intact gzip file"):
        load(tmp_path / "notes.jsonl.gz")
