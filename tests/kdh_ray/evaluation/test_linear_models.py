"""Linear baselines learn from the training split only, and take few documents and labels."""

from collections.abc import Callable

import numpy as np
import pytest

from kdh_ray.data.corpus import Corpus, Split
from kdh_ray.data.folds import fold_corpus, folds_of, refit_corpus, with_folds
from kdh_ray.errors import DataError
from kdh_ray.evaluation.linear_models import Probabilities, features_logistic, tfidf_logistic, tfidf_svm
from kdh_ray.evaluation.metrics import score

WORDS = ("apoptosis", "angiogenesis", "glycolysis")


def corpus(n_documents: int = 60, labels: int = 3, seed: int = 0) -> Corpus:
    """Documents that contain a label's word if they have the label. No document has the last label."""
    generator = np.random.default_rng(seed)

    def split(name: str) -> Split:
        targets = generator.integers(0, 2, (n_documents, labels)).astype(np.int8)
        targets[:, 2:] = 0
        texts = [" ".join(["tumour", *(word for word, has in zip(WORDS, row, strict=False) if has)]) for row in targets]
        return Split([f"{name}-{i}" for i in range(n_documents)], texts, targets)

    return Corpus("toy", WORDS[:labels], {name: split(name) for name in ("train", "validation", "test")})


@pytest.mark.parametrize("baseline", [tfidf_logistic, tfidf_svm])
def test_baseline_learns_words_that_mean_labels(baseline: Callable[..., Probabilities]) -> None:
    toy = corpus()
    validation, test = baseline(toy, seed=0)
    assert validation.shape == toy.splits["validation"].targets.shape
    assert score(toy.splits["test"].targets, test)["f1_micro"] == 1.0


def test_label_unseen_in_training_is_never_predicted() -> None:
    assert (tfidf_logistic(corpus())[1][:, 2] == 0.0).all()


def test_one_seed_gives_one_result() -> None:
    assert np.array_equal(tfidf_logistic(corpus(), seed=3)[1], tfidf_logistic(corpus(), seed=3)[1])


def test_test_labels_never_reach_the_baseline() -> None:
    toy = corpus()
    test = toy.splits["test"]
    flipped = Split(test.ids, test.texts, 1 - test.targets)
    other = Corpus(toy.name, toy.labels, {**toy.splits, "test": flipped})
    assert np.array_equal(tfidf_logistic(toy)[1], tfidf_logistic(other)[1])


def test_few_documents_and_one_label_still_work() -> None:
    assert tfidf_logistic(corpus(n_documents=6, labels=1))[1].shape == (6, 1)


def test_texts_without_words_are_one_clear_error() -> None:
    split = Split(["a", "b"], ["!", "?"], np.array([[1], [0]], dtype=np.int8))
    with pytest.raises(DataError, match="share no word"):
        tfidf_logistic(Corpus("toy", ["x"], dict.fromkeys(("train", "validation", "test"), split)))


def test_svm_margins_become_probabilities() -> None:
    toy = corpus()
    _, test = tfidf_svm(toy)
    assert ((test >= 0.0) & (test <= 1.0)).all()
    assert score(toy.splits["test"].targets, test, 0.5)["f1_micro"] == 1.0  # 0.5 is where the margin changes sign


def test_features_of_any_kind_are_learnt() -> None:
    toy = corpus()
    noise = np.random.default_rng(0)
    features = {
        name: np.column_stack([split.targets[:, :2] * 3.0, noise.normal(size=(len(split), 4))])
        for name, split in toy.splits.items()
    }
    assert score(toy.splits["test"].targets, features_logistic(toy, features)[1], 0.5)["f1_micro"] > 0.95


def test_folds_are_predicted_by_models_of_the_others() -> None:
    folded = with_folds(corpus(), 3, lambda pool, shares: np.arange(len(pool)) % 3, ("train", "validation"))
    validation, test = tfidf_logistic(folded)
    targets = refit_corpus(folded).splits["validation"].targets
    assert validation.shape == targets.shape
    for number, documents in folds_of(folded):
        alone, _ = tfidf_logistic(fold_corpus(folded, number))
        agreement = score(targets[documents], validation[documents], 0.5)["f1_micro"]
        assert agreement == pytest.approx(score(targets[documents], alone, 0.5)["f1_micro"], abs=0.15)
    assert test.shape == folded.splits["test"].targets.shape
