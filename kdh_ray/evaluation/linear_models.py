"""Linear models over bags of words or frozen embeddings, which any fine-tuned encoder has to beat.

Each model has one classifier per label (one against the rest), with classes weighted by their inverse frequency: on
Hallmarks of Cancer that scores higher, and a weak baseline would flatter what is compared with it. The regularisation
strength C is chosen by micro F1 on the validation split, with a threshold tuned for each C. Where training and
validation documents are divided into folds, C is chosen on all of them, each predicted by a model of the other folds;
the final model is then fitted on all. The test split is only predicted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kdh_ray.data.corpus import Corpus
from kdh_ray.data.folds import fold_corpus, folds_of, is_divided, refit_corpus
from kdh_ray.errors import DataError
from kdh_ray.evaluation.metrics import score
from kdh_ray.evaluation.thresholds import tune_global

_FEW_DOCUMENTS = 20  # with fewer training documents, words of a single document are features too

Probabilities = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Probabilities of the validation and of the test split, each (n_documents, n_labels)."""


Featuriser = Callable[[Corpus], Mapping[str, Any]]
"""Maps a corpus to the (n_documents, n_features) features of each split, fitted on the training split."""


class _Candidate(NamedTuple):
    """Probabilities of one model, each (n_documents, n_labels)."""

    validation: NDArray[np.float64]
    test: NDArray[np.float64]


def tfidf_logistic(corpus: Corpus, seed: int = 0) -> Probabilities:
    """Fit TF-IDF over words and word pairs (logarithmic term frequencies), then logistic regression.

    Args:
        corpus: The training split fits the model, the validation split chooses C; or the folds do.
        seed: Seed of the solver.

    Raises:
        DataError: If no text of the training split holds a word.
    """
    return _fit_best(corpus, _tfidf, lambda c: _logistic(c, seed), (1.0, 10.0, 100.0, 1000.0))


def tfidf_svm(corpus: Corpus, seed: int = 0) -> Probabilities:
    """Fit the same features, then a linear support vector machine.

    Its probabilities are the logistic function of its margin: they have the margin's order, and are 0.5 at its decision
    boundary. Arguments and errors are those of :func:`tfidf_logistic`.
    """
    return _fit_best(corpus, _tfidf, lambda c: _svm(c, seed), (0.01, 0.1, 1.0, 10.0))


def features_logistic(corpus: Corpus, features: Mapping[str, NDArray[Any]], seed: int = 0) -> Probabilities:
    """Fit logistic regression over features of any kind, such as a frozen encoder's embeddings.

    Args:
        corpus: Provides the labels.
        features: Split -> (n_documents, n_features). They are standardised.
        seed: Seed of the solver.
    """
    from sklearn.preprocessing import StandardScaler

    def scaled(_: Corpus) -> dict[str, Any]:
        scaler = StandardScaler().fit(features["train"])
        return {name: scaler.transform(values) for name, values in features.items()}

    return _fit_best(replace(corpus, folds=None), scaled, lambda c: _logistic(c, seed), (0.001, 0.01, 0.1, 1.0))


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
    corpus: Corpus, featurise: Featuriser, make_model: Callable[[float], Any], strengths: tuple[float, ...]
) -> Probabilities:
    """Fit a model for each C in ``strengths``, and return the probabilities of the one that is best on validation."""
    if not is_divided(corpus):
        candidates = _candidates(corpus, featurise, make_model, strengths)
        chosen = _best(corpus.splits["validation"].targets, [candidate.validation for candidate in candidates])
        return candidates[chosen].validation, candidates[chosen].test
    judged = refit_corpus(corpus)
    targets = judged.splits["validation"].targets
    out_of_fold = [np.zeros(targets.shape) for _ in strengths]
    for number, documents in folds_of(corpus):
        for values, candidate in zip(
            out_of_fold, _candidates(fold_corpus(corpus, number), featurise, make_model, strengths), strict=True
        ):
            values[documents] = candidate.validation
    chosen = _best(targets, out_of_fold)
    (final,) = _candidates(judged, featurise, make_model, (strengths[chosen],))
    return out_of_fold[chosen], final.test


def _candidates(
    corpus: Corpus, featurise: Featuriser, make_model: Callable[[float], Any], strengths: Sequence[float]
) -> list[_Candidate]:
    """Fit a model for each C on the training split, and predict the others."""
    features = featurise(corpus)
    fitted = [_fit(make_model(strength), features["train"], corpus.splits["train"].targets) for strength in strengths]
    return [
        _Candidate(_probabilities(models, features["validation"]), _probabilities(models, features["test"]))
        for models in fitted
    ]


def _best(targets: NDArray[np.int8], probabilities: Sequence[NDArray[np.float64]]) -> int:
    """Return the index of the predictions with the highest micro F1; of equals, the strongest regularisation."""
    return int(np.argmax([score(targets, each, tune_global(targets, each))["f1_micro"] for each in probabilities]))


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
