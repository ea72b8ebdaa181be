"""A corpus that was converted to Parquet is the same when it is read without any setting."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from user_tables import list_rows, load, write

from kdh_ray.cli.main import main
from kdh_ray.data import Corpus, load_corpus
from kdh_ray.data.convert import write_corpus
from kdh_ray.errors import DataError


def assert_equal(first: Corpus, second: Corpus) -> None:
    assert first.labels == second.labels
    for name, split in first.splits.items():
        other = second.splits[name]
        assert (list(split.ids), list(split.texts)) == (list(other.ids), list(other.texts))
        np.testing.assert_array_equal(split.targets, other.targets)
        assert (split.segments is None) == (other.segments is None)
        if split.segments is not None and other.segments is not None:
            for ours, theirs in zip(split.segments.spans, other.segments.spans, strict=True):
                np.testing.assert_array_equal(ours, theirs)
            for ours, theirs in zip(split.segments.targets, other.segments.targets, strict=True):
                np.testing.assert_array_equal(ours, theirs)


def test_converted_table_reads_the_same(tmp_path: Path) -> None:
    corpus = load(write(tmp_path / "notes.jsonl", list_rows(40)), labels_column="labels")
    write_corpus(corpus, str(tmp_path / "notes.parquet"))
    assert_equal(corpus, load_corpus("table", tmp_path / "notes.parquet"))


def test_converted_segments_read_the_same(tmp_path: Path) -> None:
    """Also where a part's text stands earlier in the document, outside of all parts."""
    rows = [
        {
            "text": f"pain. {i} pain.",
            "parts": [{"text": "pain.", "labels": ["pain"] * (i % 2), "begin": 6 + len(f"{i} ")}],
        }
        for i in range(40)
    ]
    (tmp_path / "notes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    corpus = load_corpus("table", tmp_path / "notes.jsonl", segments_column="parts")
    assert corpus.splits["train"].segments is not None
    assert int(corpus.splits["train"].segments.spans[0][0][0]) > 0
    write_corpus(corpus, str(tmp_path / "notes.parquet"))
    assert_equal(corpus, load_corpus("table", tmp_path / "notes.parquet"))


def test_verb_writes_what_was_understood(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"text": f"Note {i}.", "cats": {"pain": i % 2, "fever": int(i % 3 == 0)}} for i in range(60)]
    (tmp_path / "notes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    output = str(tmp_path / "notes.parquet")
    arguments = ["corpus", "convert", "--path", str(tmp_path / "notes.jsonl"), output]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "read as an export of spacy" in said
    assert "60 documents, 2 labels" in said
    assert_equal(load_corpus("table", tmp_path / "notes.jsonl"), load_corpus("table", output))
    assert main(arguments) == 2
    assert "--overwrite replaces it" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 0


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must end in .parquet"):
        write_corpus(load_corpus("synthetic", documents=60), str(tmp_path / "notes.csv"))
