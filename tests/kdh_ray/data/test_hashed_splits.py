"""Splits by a hash of each document: what moves when a table changes, and what small corpora get."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from user_tables import Rows, fault, load, rows, write

from kdh_ray.data import Corpus
from kdh_ray.data.hashed_splits import hashed_parts

SHARES = [0.7, 0.1, 0.2]


def split_of(corpus: Corpus) -> dict[str, str]:
    """Return the split of each text."""
    return {text: name for name, split in corpus.splits.items() for text in split.texts}


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), order=st.permutations(range(220)))
def test_added_rows_move_nobody(seed: int, order: list[int]) -> None:
    """Wherever they are added, and in whatever order the rows come."""
    keys = [f"note {number}" for number in range(220)]
    targets = np.array([[number % 2, number % 3 == 0] for number in range(220)], dtype=np.int8)
    before = hashed_parts(keys[:200], keys[:200], targets[:200], SHARES, seed)
    after = np.empty(220, dtype=np.int64)
    after[order] = hashed_parts([keys[i] for i in order], [keys[i] for i in order], targets[order], SHARES, seed)
    assert after[:200].tolist() == before.tolist()


@pytest.mark.parametrize("id_column", ["id", None])
def test_table_keeps_its_splits_when_it_grows(tmp_path: Path, id_column: str | None) -> None:
    few, path = rows(200), tmp_path / "notes.csv"
    more: Rows = [{"id": f"new{n}", "text": f"A new note {n}.", "pain": 1, "fever": 0} for n in range(5)]
    before = split_of(load(write(path, few), id_column=id_column))
    after = split_of(load(write(path, more + few[::-1]), id_column=id_column))
    assert before == {text: after[text] for text in before}


def test_corrected_text_keeps_its_split_by_id(tmp_path: Path) -> None:
    content = rows(200)
    before = load(write(tmp_path / "before.csv", content))
    after = load(write(tmp_path / "after.csv", [{**row, "text": f"{row['text']} Corrected."} for row in content]))
    assert {name: split.ids for name, split in before.splits.items()} == {
        name: split.ids for name, split in after.splits.items()
    }


def test_seed_deals_anew(tmp_path: Path) -> None:
    path = write(tmp_path / "notes.csv", rows(200))
    assert split_of(load(path)) == split_of(load(path, sample_seed=0)) != split_of(load(path, sample_seed=1))


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), rare=st.integers(3, 6))
def test_small_corpus_has_every_label_in_every_split(seed: int, rare: int) -> None:
    keys = [str(number) for number in range(60)]
    targets = np.array([[number % 2, number < rare] for number in range(60)], dtype=np.int8)
    parts = hashed_parts(keys, keys, targets, SHARES, seed)
    assert all(targets[parts == part].any(axis=0).all() for part in range(3))
    assert (np.bincount(parts)[1:] >= [4, 8]).all()  # two thirds of their shares


def test_large_corpus_has_the_asked_shares() -> None:
    keys = [str(number) for number in range(20_000)]
    targets = np.array([[number % 2, number % 10 == 0] for number in range(20_000)], dtype=np.int8)
    parts = hashed_parts(keys, keys, targets, SHARES, 0)
    np.testing.assert_allclose(np.bincount(parts) / 20_000, SHARES, atol=0.01)
    for part in range(3):
        np.testing.assert_allclose(targets[parts == part].mean(axis=0), [0.5, 0.1], atol=0.03)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31 - 1))
def test_another_member_moves_a_group_to_training_only(seed: int) -> None:
    keys = [f"note {number}" for number in range(1200)]
    groups = [str(number % 600) for number in range(1200)]
    targets = np.array([[number % 2] for number in range(1200)], dtype=np.int8)
    before = hashed_parts(keys[:600], groups[:600], targets[:600], SHARES, seed)
    after = hashed_parts(keys, groups, targets, SHARES, seed)
    assert after[:600].tolist() == after[600:].tolist()
    order = np.array([2, 1, 0])  # by place: test, validation, train
    assert (order[after[:600]] >= order[before]).all()


@pytest.mark.parametrize("rule", ["hashed", "stratified"])
def test_groups_stay_in_one_split(tmp_path: Path, rule: str) -> None:
    """So do two patients of whom one text is the same."""
    content = [{**row, "patient": f"p{number // 3}"} for number, row in enumerate(rows(300))]
    content[5]["text"] = content[100]["text"].upper()
    corpus = load(write(tmp_path / "notes.csv", content), group_column="patient", split_rule=rule)
    patient = {row["id"]: row["patient"] for row in content}
    seen = [{patient[id_] for id_ in split.ids} for split in corpus.splits.values()]
    assert sum(map(len, seen)) == len(set.union(*seen)) == 100
    assert any({"p1", "p33"} <= patients for patients in seen)


def test_missing_group_is_named(tmp_path: Path) -> None:
    content = [{**row, "patient": "" if number == 7 else "p"} for number, row in enumerate(rows(20))]
    path = write(tmp_path / "notes.csv", content)
    message = fault(path, group_column="patient")
    assert "column 'patient' must hold a group; missing: row 'd7'; give such a row a group of its own" in message
    assert "has no column 'patiant'" in fault(path, group_column="patiant")


def test_new_note_of_a_patient_joins_the_others(tmp_path: Path) -> None:
    content = [{**row, "patient": f"p{number // 3}"} for number, row in enumerate(rows(300))]
    before = split_of(load(write(tmp_path / "notes.csv", content), group_column="patient"))
    content += [{**row, "id": f"new-{n}", "text": f"A new note {n}."} for n, row in enumerate(content[::9])]
    after = split_of(load(write(tmp_path / "notes.csv", content), group_column="patient"))
    assert before == {text: after[text] for text in before}


@pytest.mark.parametrize("id_column", ["id", None])
def test_samples_keep_their_documents_when_the_table_grows(tmp_path: Path, id_column: str | None) -> None:
    few, path = rows(400), tmp_path / "notes.csv"
    more: Rows = [{"id": f"new{n}", "text": f"A new note {n}.", "pain": 1, "fever": 0} for n in range(9)]

    def samples() -> list[set[str]]:
        sizes = ("small", "medium", "large")
        return [set(load(path, id_column=id_column, size=size).splits["train"].texts) for size in sizes]

    write(path, few)
    before = samples()
    write(path, more + few[::-1])
    after = samples()
    for earlier, later in zip(before, after, strict=True):
        assert earlier == {text for text in later if text.startswith("Note")}
    small, medium, large = after
    assert small < medium < large
    assert 0.17 < len(small) / len(large) < 0.33


def test_small_sample_has_every_label_and_whole_groups(tmp_path: Path) -> None:
    content = [{**row, "patient": f"p{n // 4}", "fever": int(n % 40 == 0)} for n, row in enumerate(rows(200))]
    path = write(tmp_path / "notes.csv", content)
    small = load(path, size="small", group_column="patient").splits["train"]
    medium = load(path, size="medium", group_column="patient").splits["train"]
    assert small.targets.any(axis=0).all()
    patient = {row["id"]: row["patient"] for row in content}
    assert not {patient[id_] for id_ in small.ids} & {patient[id_] for id_ in set(medium.ids) - set(small.ids)}


def test_stratified_samples_are_as_before(tmp_path: Path) -> None:
    path = write(tmp_path / "notes.csv", rows(40))
    small = load(path, size="small", split_rule="stratified").splits["train"]
    assert small.ids == ["d4", "d11", "d25", "d27", "d28", "d33"]
