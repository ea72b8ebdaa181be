"""A small table of notes with two labels, written in any format and read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kdh_ray.data import Corpus, load_corpus
from kdh_ray.errors import DataError

LABELS = ["pain", "fever"]
Rows = list[dict[str, Any]]


def rows(n: int = 20) -> Rows:
    """Return rows with a 0/1 column per label."""
    return [{"id": f"d{i}", "text": f"Note number {i}.", "pain": i % 2, "fever": int(i % 3 == 0)} for i in range(n)]


def list_rows(n: int = 20) -> Rows:
    """Return the same rows with a column of label lists instead."""
    return [
        {"id": row["id"], "text": row["text"], "labels": [label for label in LABELS if row[label]]} for row in rows(n)
    ]


def write(path: Path, content: Rows) -> Path:
    """Write rows in the format of the file's ending."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
    elif path.suffix == ".parquet":
        pd.DataFrame(content).to_parquet(path)
    else:
        pd.DataFrame(content).to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


def load(path: Path, **options: Any) -> Corpus:
    """Load a table with the columns of ``rows``, unless ``options`` name others."""
    chosen = {"id_column": "id", **({} if "labels_column" in options else {"label_columns": LABELS}), **options}
    return load_corpus("table", path, **chosen)


def by_id(corpus: Corpus) -> dict[str, tuple[str, list[int]]]:
    """Return id -> (text, targets) over all splits."""
    return {
        id_: (text, target.tolist())
        for split in corpus.splits.values()
        for id_, text, target in zip(split.ids, split.texts, split.targets, strict=True)
    }


def fault(path: Path, **options: Any) -> str:
    """Return the message with which a table is refused; it has one line and shows no text."""
    with pytest.raises(DataError) as caught:
        load(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert "Note number" not in message
    return message


def changed(number: int, **values: Any) -> Rows:
    """Return rows with other values in row ``number``, from 0."""
    content = rows()
    content[number] = {**content[number], **values}
    return content
