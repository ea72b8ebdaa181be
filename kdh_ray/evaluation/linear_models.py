"""Linear models over bags of words or frozen embeddings, which any fine-tuned encoder has to beat.

Each model has one classifier per label (one against the rest), with classes weighted by their inverse frequency: on
Hallmarks of Cancer that scores higher, and a weak baseline would flatter what is compared with it. The regularisation
strength C is chosen by micro F1 on the validation split, with a threshold tuned for each C. The test split is only
predicted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdh_ray.data.corpus import Corpus
from kdh_ray.errors import DataError
from kdh_ray.evaluation.metrics import score
from kdh_ray.evaluation.thresholds import tune_global

_FEW_DOCUMENTS = 20  # with fewer training documents, words of a single document are features too

Probabilities = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Probabilities of the validation and of the test split, each (n_documents, n_labels)."""


def tfidf_logistic(corpus: Corpus, seed: int = 0) -> Probabilities:
    """Fit TF-IDF over words and word pairs (logarithmic term frequencies), then logistic regression.

    Args:
        corpus: The training split fits the model, the validation split chooses C.
        seed: Seed of the solver.

    Raises:
        DataError: If no text of the training split holds a word.
    """
    return _fit_best(corpus, _tfidf(corpus), lambda c: _logistic(c, seed), (1.0, 10.0, 100.0, 1000.0))


def tfidf_svm(corpus: Corpus, seed: int = 0) -> Probabilities:
    """Fit the same features, then a linear support vector machine.

    Its probabilities are the logistic function of its margin: they have the margin's order, and are 0.5 at its decision
    boundary. Arguments and errors are those of :func:`tfidf_logistic`.
    """
    return _fit_best(corpus, _tfidf(corpus), lambda c: _svm(c, seed), (0.01, 0.1, 1.0, 10.0))


def features_logistic(corpus: Corpus, features: Mapping[str, NDArray[Any]], seed: int = 0) -> Probabilities:
    """Fit logistic regression over features of any kind, such as a frozen encoder's embeddings.

    Args:
        corpus: Provides the labels.
        features: Split -> (n_documents, n_features). They are standardised.
        seed: Seed of the solver.
    """
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(features["train"])
    scaled = {name: scaler.transform(values) for name, values in features.items()}
    return _fit_best(corpus, scaled, lambda c: _logistic(c, seed), (0.001, 0.01, 0.1, 1.0))


def _tfidf(corpus: Corpus) -> dict[str, Any]:
    """Return split -> (n_documents, n_terms) sparse matrix."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    train = corpus.splits["train"]
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=1 if len(train) < _FEW_DOCUMENTS else 2)
    try:
        vectorizer.fit(train.texts)
    except ValueError:
        raise DataError(f"{corpus.name}: the {len(train)} texts of the training split share no word") from None
    return {name: vectorizer.transform(split.texts) for name, split in corpus.splits.items()}


def _fit_best(
    corpus: Corpus, features: Mapping[str, Any], make_model: Callable[[float], Any], strengths: tuple[float, ...]
) -> Probabilities:
    """Fit a model for each C in ``strengths``, and return the probabilities of the one that is best on validation."""
    targets = corpus.splits["validation"].targets
    best_f1 = -1.0
    for strength in strengths:
        models = _fit(make_model(strength), features["train"], corpus.splits["train"].targets)
        probabilities = _probabilities(models, features["validation"])
        f1 = score(targets, probabilities, tune_global(targets, probabilities))["f1_micro"]
        if f1 > best_f1:  # of equals, the strongest regularisation
            best_f1, best = f1, (models, probabilities)
    best_models, best_probabilities = best
    return best_probabilities, _probabilities(best_models, features["test"])


def _logistic(strength: float, seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, class_weight="balanced", solver="liblinear", random_state=seed)


def _svm(strength: float, seed: int) -> Any:
    from sklearn.svm import LinearSVC

    return LinearSVC(C=strength, class_weight="balanced", random_state=seed)


def _fit(model: Any, features: Any, targets: NDArray[np.int8]) -> list[Any]:
    """Fit a copy of ``model`` per label. A label on which all training documents agree has its probability instead."""
    from sklearn.base import clone

    return [
        clone(model).fit(features, column) if column.min() != column.max() else float(column[0]) for column in targets.T
    ]


def _probabilities(models: list[Any], features: Any) -> NDArray[np.float64]:
    """Predict (n_documents, n_labels) probabilities."""
    columns = [
        np.full(features.shape[0], model) if isinstance(model, float) else _positive_probability(model, features)
        for model in models
    ]
    return np.stack(columns, axis=1)


def _positive_probability(model: Any, features: Any) -> NDArray[np.float64]:
    """Predict (n_documents,) probabilities of one label."""
    if hasattr(model, "predict_proba"):
        return np.asarray(model.predict_proba(features)[:, 1])
    margin = model.decision_function(features)
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * margin)))  # 1 / (1 + exp(-margin)), without overflow
