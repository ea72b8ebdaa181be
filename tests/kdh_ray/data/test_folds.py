"""Folds of a corpus: which documents judge which models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from user_tables import rows, write

from kdh_ray.data import Corpus, load_corpus
from kdh_ray.data.folds import fold_corpus, folds_of, is_divided, refit_corpus, with_folds
from kdh_ray.errors import DataError


def table(path: Path, folds: int = 4, **options: object) -> Corpus:
    return load_corpus("table", path, label_columns=["pain", "fever"], id_column="id", folds=folds, **options)


def test_every_document_is_judged_by_one_fold(tmp_path: Path) -> None:
    path = write(tmp_path / "notes.csv", rows(200))
    corpus, whole = table(path), table(path, folds=1)
    known = [id_ for name in ("train", "validation") for id_ in whole.splits[name].ids]
    judged = []
    for number in range(1, 5):
        fold = fold_corpus(corpus, number)
        train, validation = (set(fold.splits[name].ids) for name in ("train", "validation"))
        assert not train & validation
        assert train | validation == set(known)
        assert fold.splits["test"].ids == whole.splits["test"].ids
        judged += fold.splits["validation"].ids
    assert sorted(judged) == sorted(known)
    assert list(refit_corpus(corpus).splits["train"].ids) == known


def test_folds_are_of_similar_size_and_labels(tmp_path: Path) -> None:
    corpus = table(write(tmp_path / "notes.csv", rows(600)), split_rule="stratified")
    pool = refit_corpus(corpus).splits["train"]
    for _, documents in folds_of(corpus):
        assert len(documents) == pytest.approx(len(pool) / 4, abs=2)
        np.testing.assert_allclose(pool.targets[documents].mean(0), pool.targets.mean(0), atol=0.02)


def test_hashed_folds_are_of_similar_size(tmp_path: Path) -> None:
    corpus = table(write(tmp_path / "notes.csv", rows(800)))
    assert all(0.18 < len(documents) / 640 < 0.32 for _, documents in folds_of(corpus))


@pytest.mark.parametrize("rule", ["hashed", "stratified"])
def test_a_patient_is_in_one_fold(tmp_path: Path, rule: str) -> None:
    content = [{**row, "patient": f"p{number // 3}"} for number, row in enumerate(rows(240))]
    corpus = table(write(tmp_path / "notes.csv", content), group_column="patient", split_rule=rule)
    pool = refit_corpus(corpus).splits["train"]
    assert corpus.folds is not None
    assert pool.groups is not None
    fold_of: dict[str, int] = {}
    for patient, fold in zip(pool.groups, corpus.folds.parts, strict=True):
        assert fold_of.setdefault(patient, int(fold)) == fold


def test_added_rows_move_no_document_between_folds(tmp_path: Path) -> None:
    def parts(number: int) -> dict[str, int]:
        corpus = table(write(tmp_path / f"{number}.csv", rows(number)))
        assert corpus.folds is not None
        return dict(zip(refit_corpus(corpus).splits["train"].ids, map(int, corpus.folds.parts), strict=True))

    before, after = parts(300), parts(310)
    assert before == {id_: after[id_] for id_ in before}


def test_published_validation_split_is_not_divided(corpus: Corpus) -> None:
    corpus = with_folds(corpus, 3, lambda pool, shares: np.arange(len(pool)) % 3, ("train",))
    assert not is_divided(corpus)
    fold = fold_corpus(corpus, 2)
    assert {*fold.splits["train"].ids, *fold.splits["validation"].ids} == set(corpus.splits["train"].ids)
    segments = fold.splits["validation"].segments
    assert segments is not None
    assert len(segments.spans) == len(fold.splits["validation"]) == 16


def test_more_folds_than_documents_are_refused(corpus: Corpus) -> None:
    few = replace(corpus, splits={name: split.take([0, 1]) for name, split in corpus.splits.items()})
    with pytest.raises(DataError, match=r"data\.folds: each of 5 folds must get documents; 4 documents make only 4"):
        with_folds(few, 5, lambda pool, shares: np.arange(len(pool)), ("train", "validation"))


def test_small_folds_are_warned_of(tmp_path: Path) -> None:
    content = [{**row, "fever": int(number < 30 and number % 4 == 0)} for number, row in enumerate(rows(124))]
    path = write(tmp_path / "notes.csv", content)
    (warning,) = table(path, folds=20).warnings
    assert warning.startswith("data.folds: 20 folds are small (the smallest has ")
    assert "some have no document with label 'fever'): their scores say little" in warning
    assert not table(write(tmp_path / "more.csv", rows(400)), folds=4).warnings
