"""Bag-of-words baselines: what any encoder has to beat."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdh_ray.data.corpus import Corpus
from kdh_ray.errors import DataError
from kdh_ray.evaluation.metrics import score
from kdh_ray.evaluation.thresholds import tune_global

_INVERSE_REGULARISATION = (1.0, 10.0, 100.0, 1000.0)  # C of scikit-learn
_RARE = 20  # below so many training documents, words that one document holds are kept


def tfidf_logistic(corpus: Corpus, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """TF-IDF over words and word pairs, then one logistic regression a label (one against the rest).

    Term frequencies are logarithmic, and classes are weighted by their inverse frequency: on Hallmarks of Cancer both
    are better than not, and a weak baseline flatters whatever stands beside it. C is the one of 1, 10, 100 and 1000
    with the highest micro F1 on the validation split, each at its own tuned threshold.

    Args:
        corpus: Its training split fits, its validation split chooses C; the test split is only predicted.
        seed: Of the solver.

    Returns:
        Probabilities of the validation and of the test split, each (n_documents, n_labels).

    Raises:
        DataError: If no text of the training split holds a word.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    train, validation, test = (corpus.splits[name] for name in ("train", "validation", "test"))
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=1 if len(train) < _RARE else 2)
    try:
        features = vectorizer.fit_transform(train.texts)
    except ValueError:
        raise DataError(f"{corpus.name}: the {len(train)} texts of the training split share no word") from None
    held_out = vectorizer.transform(validation.texts)
    candidates = []
    for strength in _INVERSE_REGULARISATION:
        models = _fit(features, train.targets, strength, seed)
        probabilities = _probabilities(models, held_out)
        threshold = tune_global(validation.targets, probabilities)
        candidates.append((score(validation.targets, probabilities, threshold)["f1_micro"], models, probabilities))
    _, models, probabilities = max(candidates, key=lambda candidate: candidate[0])
    return probabilities, _probabilities(models, vectorizer.transform(test.texts))


def _fit(features: Any, targets: NDArray[np.int8], strength: float, seed: int) -> list[Any]:
    """A fitted model a label; a probability where all training documents agree."""
    from sklearn.linear_model import LogisticRegression

    return [
        LogisticRegression(C=strength, class_weight="balanced", solver="liblinear", random_state=seed).fit(
            features, column
        )
        if column.min() != column.max()
        else float(column[0])
        for column in targets.T
    ]


def _probabilities(models: list[Any], features: Any) -> NDArray[np.float64]:
    columns = [
        np.full(features.shape[0], model) if isinstance(model, float) else model.predict_proba(features)[:, 1]
        for model in models
    ]
    return np.stack(columns, axis=1)
