"""Texts that are nearly the same in two splits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from kdh_ray.data import Corpus, Split, near_duplicates
from kdh_ray.data.describe import describe, near_duplicate_warnings
from kdh_ray.data.near_duplicates import word_pairs

NOTE = "Patient walks to work; headache all night, dry cough at noon; seen by the nurse on Monday."
OTHER = "Admitted after a fall from a ladder, with pain in the left hip and no other complaint at all."


def corpus(train: Sequence[str], validation: Sequence[str], test: Sequence[str]) -> Corpus:
    splits = {
        name: Split([f"{name}-{n}" for n in range(len(texts))], texts, np.ones((len(texts), 1), dtype=np.int8))
        for name, texts in (("train", train), ("validation", validation), ("test", test))
    }
    return Corpus("notes", ["pain"], splits)


@pytest.mark.parametrize(
    "edited",
    [
        NOTE.replace("Monday", "Friday"),
        f"{NOTE} Reviewed.",
        NOTE.replace(";", " -").replace(",", "").upper(),
        NOTE.replace("dry cough", "wet cough"),
    ],
)
def test_slightly_edited_text_is_near(edited: str) -> None:
    found = near_duplicates.near_duplicates(corpus([OTHER, NOTE], [OTHER[:40]], ["Something else.", edited]))
    assert found == {("train", "test"): ["test-1"]}


def test_same_and_different_texts_are_not_near() -> None:
    assert not near_duplicates.near_duplicates(corpus([NOTE], [NOTE.lower()], [OTHER, "", "Short."]))


def test_validation_and_test_are_compared() -> None:
    found = near_duplicates.near_duplicates(corpus([OTHER], [NOTE], [f"{NOTE} Reviewed."]))
    assert found == {("validation", "test"): ["test-0"]}


def test_every_copy_among_many_is_found() -> None:
    random = np.random.default_rng(0)
    texts = [" ".join(map(str, random.integers(0, 5000, 60))) for _ in range(300)]
    copies = [" ".join([*text.split()[:57], "a", "b", "c"]) for text in texts[:100]]
    assert len(near_duplicates.near_duplicates(corpus(texts, ["v"], copies))["train", "test"]) == 100


def test_scripts_without_spaces_count_by_the_character() -> None:
    assert word_pairs("頭痛 fever") == {"頭 痛", "痛 fever"}


def test_warning_is_one_line_of_ids() -> None:
    described = describe(corpus([NOTE], [f"{NOTE} Reviewed."], [f"{NOTE} Again."]))
    warnings = [warning for warning in described.warnings if warning.startswith("near-duplicates")]
    assert len(warnings) == 1
    assert "validation document 'validation-0', like train ones" in warnings[0]
    assert "test document 'test-0', like train ones" in warnings[0]
    assert "Patient" not in warnings[0]


def test_large_corpus_is_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("near_duplicates", "describe"):
        monkeypatch.setattr(f"kdh_ray.data.{module}.MOST_DOCUMENTS", 2)
    large = corpus([NOTE], [f"{NOTE} Reviewed."], [OTHER])
    assert near_duplicate_warnings(large) == [
        "texts that nearly repeat others are not searched for in more than 2 documents"
    ]
    assert not near_duplicates.near_duplicates(large)
