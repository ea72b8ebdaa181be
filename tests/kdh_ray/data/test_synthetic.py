"""The synthetic corpus: reproducible, labelled by its sentences, hard for a bag of words."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdh_ray.data import load_corpus
from kdh_ray.data import synthetic_words as vocabulary
from kdh_ray.data.describe import describe
from kdh_ray.data.hoc import HALLMARKS
from kdh_ray.data.synthetic import NEW_TERMS, synthetic_corpus


def test_labels_are_the_ten_hallmarks() -> None:
    assert tuple(synthetic_corpus(40).labels) == HALLMARKS
    assert all(set(companions) < set(HALLMARKS) for companions in vocabulary.COMPANIONS.values())


def test_phrases_belong_to_one_hallmark() -> None:
    phrases = [phrase for terms in vocabulary.TERMS.values() for phrase in terms]
    assert len(phrases) == len(set(phrases)) == 500


def test_seed_repeats_corpus_in_any_process() -> None:
    """Also with another hash seed, on which the order of sets depends."""
    code = "from kdh_ray.data.synthetic import synthetic_corpus; print(synthetic_corpus(200, seed=3).fingerprint())"
    command = [sys.executable, "-c", code]
    prints = {
        subprocess.run(
            command, env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}, check=True, capture_output=True
        ).stdout
        for seed in ("1", "2")
    }
    assert prints == {f"{synthetic_corpus(200, seed=3).fingerprint()}\n".encode()}


@pytest.mark.parametrize(("documents", "expected"), [(800, "b59f4168468467c7"), (1200, "bb34c553e197415a")])
def test_corpus_of_published_results_is_unchanged(documents: int, expected: str) -> None:
    assert synthetic_corpus(documents).fingerprint()[:16] == expected


def test_seeds_give_different_corpora() -> None:
    first, second = (load_corpus("synthetic", documents=60, sample_seed=seed) for seed in (0, 1))
    assert not set(first.splits["train"].texts) & set(second.splits["train"].texts)


@settings(max_examples=15, deadline=None)
@given(documents=st.integers(40, 300), seed=st.integers(0, 2**31))
def test_document_is_its_sentences(documents: int, seed: int) -> None:
    corpus = synthetic_corpus(documents, seed)
    assert sum(map(len, corpus.splits.values())) == documents
    for split in corpus.splits.values():
        assert split.segments is not None
        for text, target, spans, targets in zip(
            split.texts, split.targets, split.segments.spans, split.segments.targets, strict=True
        ):
            assert " ".join(text[start:end] for start, end in spans) == text
            assert 2 <= len(spans) <= 4
            np.testing.assert_array_equal(targets.max(axis=0), target)


def test_no_text_repeats() -> None:
    assert not describe(synthetic_corpus(2000)).duplicates


def test_some_phrases_are_new_after_training() -> None:
    train, test = (" ".join(synthetic_corpus(3000).splits[name].texts).lower() for name in ("train", "test"))
    phrases = [[phrase.lower() for phrase in terms] for terms in vocabulary.TERMS.values()]
    new = [terms[place] for terms in phrases for place in range(NEW_TERMS - 1, len(terms), NEW_TERMS)]
    # Some are part of a longer phrase: "telomere length" of "telomere lengthening".
    parts = {phrase for phrase in new for terms in phrases for other in terms if phrase != other and phrase in other}
    unseen = [phrase for phrase in new if phrase not in parts]
    assert len(unseen) > 0.9 * len(new)
    assert not [phrase for phrase in unseen if phrase in train]
    assert sum(phrase in test for phrase in unseen) > 20


def test_mentions_are_mostly_not_labelled() -> None:
    """Sentences that deny a phrase carry a label only where the annotator erred."""
    split = synthetic_corpus(3000).splits["train"]
    assert split.segments is not None
    denied = [
        targets[row].any()
        for text, spans, targets in zip(split.texts, split.segments.spans, split.segments.targets, strict=True)
        for row, (start, end) in enumerate(spans)
        if " had no effect on " in text[start:end]
    ]
    assert len(denied) > 20
    assert np.mean(denied) < 0.2


def test_shares_are_like_real_abstracts() -> None:
    corpus = synthetic_corpus(3000)
    targets = np.concatenate([split.targets for split in corpus.splits.values()])
    assert 1.2 < targets.sum(axis=1).mean() < 1.6
    assert 0.08 < (targets.sum(axis=1) == 0).mean() < 0.2
    assert targets.mean(axis=0).min() > 0.08


def test_companions_occur_together() -> None:
    targets = np.concatenate([split.targets for split in synthetic_corpus(3000).splits.values()])
    columns = {name: targets[:, column] == 1 for column, name in enumerate(HALLMARKS)}
    for name, companions in vocabulary.COMPANIONS.items():
        with_companion = np.mean([columns[other][columns[name]].mean() for other in companions])
        others = [other for other in HALLMARKS if other != name and other not in companions]
        assert with_companion > 1.3 * np.mean([columns[other][columns[name]].mean() for other in others])


def test_bag_of_words_stays_well_below_the_ceiling() -> None:
    from kdh_ray.evaluation.linear_models import tfidf_logistic
    from kdh_ray.evaluation.metrics import score
    from kdh_ray.evaluation.thresholds import tune_global

    corpus = synthetic_corpus()
    validation, test = tfidf_logistic(corpus)
    threshold = tune_global(corpus.splits["validation"].targets, validation)
    f1 = score(corpus.splits["test"].targets, test, threshold)["f1_micro"]
    assert f1 == pytest.approx(0.65, abs=0.1)
