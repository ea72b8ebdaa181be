"""The file by which a checkpoint knows the documents that it has learnt from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdh_ray.data import Corpus, Split
from kdh_ray.data.corpus import Texts, Unlabelled
from kdh_ray.data.document_set import DocumentSet, new_key
from kdh_ray.data.text_digest import text_digest
from kdh_ray.errors import CheckpointError, DataError
from kdh_ray.models.training_documents import FILE, TrainingDocuments, check_unseen


def corpus(train: Sequence[str], validation: Sequence[str] = ("v",), test: Sequence[str] = ("t",)) -> Corpus:
    splits = {
        name: Split([f"{name}-{n}" for n in range(len(texts))], texts, np.ones((len(texts), 1), dtype=np.int8))
        for name, texts in (("train", train), ("validation", validation), ("test", test))
    }
    return Corpus("notes", ["pain"], splits)


def checkpoint(folder: Path, trained_on: Corpus, documents: TrainingDocuments | None) -> Path:
    """Write a card and a file of documents, which is all that the check reads."""
    folder.mkdir()
    card = {"labels": ["pain"], "thresholds": [0.5], "max_tokens": 8, "segments": False, "format": 2}
    card["corpus"] = {"name": "notes", "fingerprint": trained_on.fingerprint()}
    (folder / "classifier.json").write_text(json.dumps(card))
    if documents is not None:
        documents.save(folder)
    return folder


@settings(max_examples=25, deadline=None)
@given(texts=st.lists(st.text(), max_size=30), others=st.lists(st.text(), max_size=10))
def test_set_holds_its_documents_only(texts: list[str], others: list[str]) -> None:
    own, asked = {text_digest(text) for text in texts}, [text_digest(text) for text in [*texts, *others]]
    documents = DocumentSet.of(own, new_key())
    assert len(documents) == len(own)
    assert documents.holds(asked).tolist() == [digest in own for digest in asked]


def test_file_is_read_back(tmp_path: Path) -> None:
    TrainingDocuments.of(corpus(["Pain  at night.", "b"])).save(tmp_path)
    documents = TrainingDocuments.load(tmp_path)
    assert documents is not None
    asked = [text_digest(text) for text in ("pain at\nnight.", "c", "v")]
    assert documents.trained_on(asked).tolist() == [True, False, False]
    assert documents.chose_by(asked).tolist() == [False, False, True]
    assert documents.complete


def test_file_has_16_bytes_a_document_and_no_text(tmp_path: Path) -> None:
    TrainingDocuments.of(corpus([f"note {n}" for n in range(1000)])).save(tmp_path)
    content = (tmp_path / FILE).read_bytes()
    assert 16_000 < len(content) < 17_000
    assert b"note" not in content
    assert text_digest("note 1").encode()[:16] not in content


def test_two_files_of_the_same_documents_do_not_match() -> None:
    first, second = (TrainingDocuments.of(corpus(["a", "b"])).train[0] for _ in range(2))
    assert not {digest.tobytes() for digest in first.digests} & {digest.tobytes() for digest in second.digests}


def test_teachers_documents_are_inherited_once() -> None:
    teacher = TrainingDocuments.of(corpus(["a", "b"]))
    assert len(TrainingDocuments.of(corpus(["a", "b", "c"]), [teacher, teacher]).train) == 1
    student = TrainingDocuments.of(corpus(["a", "c"]), [teacher, teacher])
    assert len(student.train) == 2
    assert student.trained_on([text_digest(text) for text in "abcd"]).tolist() == [True, True, True, False]


def test_unlabelled_text_counts_as_trained_on() -> None:
    more = Unlabelled(Texts.numbered(["u"]), np.zeros((1, 1), dtype=np.float32))
    documents = TrainingDocuments.of(replace(corpus(["a"]), unlabelled=more))
    assert documents.trained_on([text_digest("u"), text_digest("x")]).tolist() == [True, False]


def test_seen_documents_are_counted_and_refused(tmp_path: Path) -> None:
    before, now = corpus(["a", "b", "c"]), corpus(["c"], ["a", "x"], ["b", "v", "y"])
    folder = checkpoint(tmp_path / "old", before, TrainingDocuments.of(before))
    with pytest.raises(DataError) as caught:
        check_unseen(folder, now, ["validation", "test"])
    message = str(caught.value)
    assert "1 of the 2 validation documents in its training split" in message
    assert "1 of the 3 test documents in its training split" in message
    assert "1 of the 3 test documents in its validation split" in message
    assert "--allow-changed-data" in message
    assert "\n" not in message
    assert check_unseen(folder, now, ["test"], allowed=True).endswith("scores on them are too good")


def test_same_corpus_and_clean_splits_pass(tmp_path: Path) -> None:
    before = corpus(["a", "t"])  # a duplicate across splits, which the corpus's description names
    folder = checkpoint(tmp_path / "old", before, TrainingDocuments.of(before))
    assert check_unseen(folder, before, ["test"]) == ""
    assert check_unseen(folder, corpus(["a", "t", "new"]), ["validation", "test"]) == ""


def test_older_checkpoint_is_warned_of(tmp_path: Path) -> None:
    before = corpus(["a"])
    folder = checkpoint(tmp_path / "old", before, None)
    assert check_unseen(folder, before, ["test"]) == ""
    assert "doesn't say which documents: test documents may be among them" in check_unseen(
        folder, corpus("b"), ["test"]
    )
    student = checkpoint(tmp_path / "new", before, TrainingDocuments.of(before, [None]))
    assert "which documents of all its teachers" in check_unseen(student, corpus("b"), ["test"])


def test_unreadable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"{}")
    with pytest.raises(CheckpointError, match=r"documents.safetensors can't be read .*remove it to do without"):
        TrainingDocuments.load(tmp_path)
