"""Linear models over bags of words or frozen embeddings: what any fine-tuned encoder has to beat.

Each is one classifier a label (one against the rest), classes weighted by their inverse frequency: on Hallmarks of
Cancer that is better than not, and a weak baseline flatters whatever stands beside it. Its regularisation C is the one
with the highest micro F1 on the validation split, each at its own tuned threshold; the test split is only predicted.
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

_RARE = 20  # below so many training documents, words that one document holds are kept

Probabilities = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Of the validation and of the test split, each (n_documents, n_labels)."""


def tfidf_logistic(corpus: Corpus, seed: int = 0) -> Probabilities:
    """TF-IDF over words and word pairs (logarithmic term frequencies), then logistic regression.

    Args:
        corpus: Its training split fits, its validation split chooses C.
        seed: Of the solver.

    Raises:
        DataError: If no text of the training split holds a word.
    """
    return _best(corpus, _tfidf(corpus), lambda c: _logistic(c, seed), (1.0, 10.0, 100.0, 1000.0))


def tfidf_svm(corpus: Corpus, seed: int = 0) -> Probabilities:
    """The same features, then a linear support vector machine.

    Its probabilities are the logistic function of its margin: in the margin's order, and 0.5 where it decides.
    Arguments and errors as for :func:`tfidf_logistic`.
    """
    return _best(corpus, _tfidf(corpus), lambda c: _svm(c, seed), (0.01, 0.1, 1.0, 10.0))


def features_logistic(corpus: Corpus, features: Mapping[str, NDArray[Any]], seed: int = 0) -> Probabilities:
    """Logistic regression over features of any kind, such as a frozen encoder's embeddings.

    Args:
        corpus: Whose labels they are to tell.
        features: Split -> (n_documents, n_features).
        seed: Of the solver.
    """
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(features["train"])
    scaled = {name: scaler.transform(values) for name, values in features.items()}
    return _best(corpus, scaled, lambda c: _logistic(c, seed), (0.001, 0.01, 0.1, 1.0))


def _tfidf(corpus: Corpus) -> dict[str, Any]:
    """Split -> (n_documents, n_terms) sparse matrix."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    train = corpus.splits["train"]
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=1 if len(train) < _RARE else 2)
    try:
        vectorizer.fit(train.texts)
    except ValueError:
        raise DataError(f"{corpus.name}: the {len(train)} texts of the training split share no word") from None
    return {name: vectorizer.transform(split.texts) for name, split in corpus.splits.items()}


def _best(
    corpus: Corpus, features: Mapping[str, Any], model: Callable[[float], Any], strengths: tuple[float, ...]
) -> Probabilities:
    """Probabilities of the C in ``strengths`` that is best on validation."""
    train, validation = corpus.splits["train"], corpus.splits["validation"]
    candidates = []
    for strength in strengths:
        models = _fit(model(strength), features["train"], train.targets)
        probabilities = _probabilities(models, features["validation"])
        threshold = tune_global(validation.targets, probabilities)
        candidates.append((score(validation.targets, probabilities, threshold)["f1_micro"], models, probabilities))
    _, models, probabilities = max(candidates, key=lambda candidate: candidate[0])
    return probabilities, _probabilities(models, features["test"])


def _logistic(strength: float, seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, class_weight="balanced", solver="liblinear", random_state=seed)


def _svm(strength: float, seed: int) -> Any:
    from sklearn.svm import LinearSVC

    return LinearSVC(C=strength, class_weight="balanced", random_state=seed)


def _fit(model: Any, features: Any, targets: NDArray[np.int8]) -> list[Any]:
    """A fitted copy of ``model`` a label; a probability where all training documents agree."""
    from sklearn.base import clone

    return [
        clone(model).fit(features, column) if column.min() != column.max() else float(column[0]) for column in targets.T
    ]


def _probabilities(models: list[Any], features: Any) -> NDArray[np.float64]:
    columns = [
        np.full(features.shape[0], model) if isinstance(model, float) else _positive(model, features)
        for model in models
    ]
    return np.stack(columns, axis=1)


def _positive(model: Any, features: Any) -> NDArray[np.float64]:
    if hasattr(model, "predict_proba"):
        return np.asarray(model.predict_proba(features)[:, 1])
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * model.decision_function(features))))
