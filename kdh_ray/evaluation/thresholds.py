"""Decision thresholds, tuned on the validation split only.

Candidates are midway between neighbouring probabilities, so every way in which a threshold can divide the data is
tried. All are evaluated at once: with the probabilities in falling order, a metric's value after each one is a
cumulative sum.

Sources:

* Yang 2001, doi:10.1145/383952.383975: a threshold per label (SCut), and how it overfits rare labels;
* Lipton, Elkan and Naryanaswamy 2014, doi:10.1007/978-3-662-44851-9_15: the threshold that maximises F1 is half of the
  F1 that it reaches, so 0.5 is seldom the best one;
* Pillai, Fumera and Roli 2013, doi:10.1016/j.patcog.2013.01.012: thresholds per label for micro F1;
* Dinkelbach 1967, doi:10.1287/mnsc.13.7.492: the exact maximum of a ratio;
* Cestnik 1990, Estimating probabilities: the m-estimate, which shrinks a label's threshold towards the global one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kdh_ray.errors import DataError
from kdh_ray.evaluation.metrics import checked_arrays

TUNABLE = ("f1_micro", "f1_macro", "f1_weighted", "f1_samples", "f1_blue")
_TIE = 1e-12  # scores closer than this differ only by rounding
_TINY = 1e-300  # in place of a zero in a denominator whose numerator is zero, too

_GroupMetric = Callable[[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]
"""Maps (true positives, predictions, group), arrays of one shape, to a metric of the group; 0 without predictions."""


def tune_global(targets: ArrayLike, probabilities: ArrayLike, metric: str = "f1_micro") -> float:
    """Find the threshold, the same for all labels, at which ``metric`` is highest; of equals, the one nearest 0.5.

    Args:
        targets: (n_documents, n_labels) of 0 and 1, of the validation split.
        probabilities: (n_documents, n_labels) in 0..1.
        metric: One of :data:`TUNABLE`.

    Returns:
        The threshold; 0.5 if no document has a label.

    Raises:
        DataError: If shapes or values are wrong, or the metric is not tunable.

    Example:
        >>> round(tune_global([[1], [1], [0]], [[0.9], [0.4], [0.2]]), 3)
        0.3
    """
    truth, scores = checked_arrays(targets, probabilities)
    if metric not in TUNABLE:
        raise DataError(f"a threshold is tuned for one of {', '.join(TUNABLE)}; got {metric!r}")
    if not truth.any():
        return 0.5
    order = np.argsort(-scores, axis=None, kind="stable")  # (n,) with n = n_documents * n_labels
    documents, labels = np.unravel_index(order, scores.shape)
    hits = truth.ravel()[order].astype(np.int64)  # (n,) 1 where a prediction is right
    if metric == "f1_micro":
        values = _f1(np.cumsum(hits), np.arange(1, hits.size + 1), hits.sum())
    elif metric in ("f1_macro", "f1_weighted"):
        values = _label_f1(truth, hits, labels, metric)
    else:
        values = _document_f1(truth, hits, documents, metric)
    return _best_threshold(scores.ravel()[order], values)


def tune_per_label(
    targets: ArrayLike, probabilities: ArrayLike, shrink: float = 20.0, metric: str = "f1_micro"
) -> NDArray[np.float64]:
    """Find a threshold per label, shrunk towards the global one where a label has few positives.

    With n_j positives and its own best threshold t_j, label j has ``(n_j t_j + m t) / (n_j + m)``, where t is the
    global threshold and m is ``shrink`` (the m-estimate, Cestnik 1990).

    Args:
        targets: (n_documents, n_labels) of 0 and 1, of the validation split.
        probabilities: (n_documents, n_labels) in 0..1.
        shrink: Weight of the global threshold, in positive documents. With 0, labels have their own thresholds, and
            with infinity, all have the global one.
        metric: ``f1_micro``, which the labels' thresholds together maximise, or ``f1_macro``, for each label's own F1.

    Returns:
        (n_labels,) thresholds. A label without positives has the global threshold.

    Raises:
        DataError: If shapes or values are wrong, ``shrink`` is negative, or the metric is another.
    """
    truth, scores = checked_arrays(targets, probabilities)
    if metric not in ("f1_micro", "f1_macro"):
        raise DataError(f"label thresholds are tuned for f1_micro or f1_macro; got {metric!r}")
    if not shrink >= 0.0:
        raise DataError(f"shrink must be at least 0; got {shrink}")
    shared = tune_global(truth, scores, metric)
    own = _own_micro(truth, scores, shared) if metric == "f1_micro" else _own_f1(truth, scores, shared)
    if np.isinf(shrink):
        return np.full(truth.shape[1], shared)
    support = truth.sum(axis=0, dtype=np.float64)
    return np.where(support > 0, (support * own + shrink * shared) / np.maximum(support + shrink, _TINY), shared)


def _own_f1(truth: NDArray[np.int8], scores: NDArray[np.float64], shared: float) -> NDArray[np.float64]:
    """Find (n_labels,) thresholds that maximise each label's F1; ``shared`` for a label without positives."""
    own = [tune_global(truth[:, [j]], scores[:, [j]]) for j in range(truth.shape[1])]
    return np.where(truth.any(axis=0), own, shared)


def _own_micro(truth: NDArray[np.int8], scores: NDArray[np.float64], shared: float) -> NDArray[np.float64]:
    """Find (n_labels,) thresholds that together maximise micro F1, by Dinkelbach's method.

    Micro F1 is ``2 TP / (predicted + positive)``. Its maximum f is where the maximum of the difference
    ``2 TP - f (predicted + positive)`` is zero. ``positive`` is constant, so the difference is a sum over labels of
    ``2 TP_j - f predicted_j``, and each label's threshold is found separately. Each round maximises the difference at
    the F1 reached so far, and f increases until it is the maximum, in a few rounds.
    """
    order = np.argsort(-scores, axis=0, kind="stable")  # (n_documents, n_labels), each label by falling probability
    ranked = np.take_along_axis(scores, order, axis=0)
    true = np.cumsum(np.take_along_axis(truth, order, axis=0), axis=0, dtype=np.int64)
    predicted = np.arange(1, truth.shape[0] + 1)[:, None]  # (n_documents, 1)
    thresholds = np.full(truth.shape[1], shared)
    reached = _micro_f1(truth, scores, thresholds)
    while True:
        differences = 2 * true - reached * predicted
        best = [_best_threshold(ranked[:, j], differences[:, j], nothing=0.0) for j in range(truth.shape[1])]
        proposal = np.where(truth.any(axis=0), best, shared)
        value = _micro_f1(truth, scores, proposal)
        if value <= reached + _TIE:
            return thresholds
        thresholds, reached = proposal, value


def _micro_f1(truth: NDArray[np.int8], scores: NDArray[np.float64], thresholds: NDArray[np.float64]) -> float:
    """Compute micro F1 at (n_labels,) thresholds."""
    predicted = scores >= thresholds
    return float(_f1(np.sum(predicted & (truth == 1)), np.sum(predicted), np.sum(truth, dtype=np.int64)))


def _f1(true: ArrayLike, predicted: ArrayLike, positive: ArrayLike) -> NDArray[np.float64]:
    """Compute ``F1 = 2 TP / (predicted + positive)``; 0 where nothing is predicted or positive."""
    total = np.asarray(predicted) + np.asarray(positive)
    return np.asarray(2.0 * np.asarray(true) / np.maximum(total, 1))


def _label_f1(
    truth: NDArray[np.int8], hits: NDArray[np.int64], labels: NDArray[np.int64], metric: str
) -> NDArray[np.float64]:
    """Compute (n,) macro or weighted F1 after each prediction; arguments as for :func:`_mean_over_groups`."""
    support = truth.sum(axis=0, dtype=np.int64)  # (n_labels,)
    weights = support / support.sum() if metric == "f1_weighted" else np.full(support.size, 1 / support.size)
    return _mean_over_groups(hits, labels, lambda true, count, label: _f1(true, count, support[label]), weights)


def _document_f1(
    truth: NDArray[np.int8], hits: NDArray[np.int64], documents: NDArray[np.int64], metric: str
) -> NDArray[np.float64]:
    """Compute (n,) samples F1 or BLUE's F1 after each prediction; arguments as for :func:`_mean_over_groups`."""
    support = truth.sum(axis=1, dtype=np.int64)  # (n_documents,)
    weights = np.full(support.size, 1 / support.size)

    def mean(metric: _GroupMetric) -> NDArray[np.float64]:
        return _mean_over_groups(hits, documents, metric, weights)

    if metric == "f1_samples":
        return mean(lambda true, count, document: _f1(true, count, support[document]))
    precision = mean(lambda true, count, _: true / np.maximum(count, 1))
    recall = mean(lambda true, _, document: true / np.maximum(support[document], 1))
    return 2 * precision * recall / np.maximum(precision + recall, _TINY)


def _mean_over_groups(
    hits: NDArray[np.int64], groups: NDArray[np.int64], metric: _GroupMetric, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Compute the weighted mean over groups (labels or documents) of a group's metric, after each prediction.

    One prediction changes the metric of one group, so the mean is a cumulative sum of changes.

    Args:
        hits: (n,) 1 where a prediction is right, for predictions in falling order of probability.
        groups: (n,) the group of each prediction.
        metric: The metric of a group.
        weights: (n_groups,) that sum to 1.

    Returns:
        (n,) the mean after the first, second, ... prediction.
    """
    by_group = np.argsort(groups, kind="stable")  # groups one after the other, each in falling order of probability
    group, hit = groups[by_group], hits[by_group]
    start = np.searchsorted(group, group)  # (n,) position at which each prediction's group begins
    count = np.arange(1, hit.size + 1) - start  # predictions of the group so far
    hits_before = np.cumsum(hit) - hit
    true = hits_before + hit - hits_before[start]  # true positives of the group so far
    changes = np.empty(hit.size)
    changes[by_group] = weights[group] * (metric(true, count, group) - metric(true - hit, count - 1, group))
    return np.cumsum(changes)


def _best_threshold(ranked: NDArray[np.float64], values: NDArray[np.float64], nothing: float = -np.inf) -> float:
    """Find the threshold with the highest value; of equals, the one nearest 0.5.

    Args:
        ranked: (n,) probabilities in falling order.
        values: (n,) where ``values[i]`` is the value of predicting the first i + 1.
        nothing: Value of predicting none.
    """
    # Equal probabilities are predicted together, so a threshold can only come after the last of them.
    is_last_of_equals = np.append(ranked[:-1] > ranked[1:], True)
    # Each candidate is above ``low`` and at most ``high``; the first one predicts nothing, the last one everything.
    above_all = 2.0 if ranked[0] == 1.0 else 1.0
    high = np.append(above_all, ranked[is_last_of_equals])
    low = np.append(ranked[is_last_of_equals], 0.0)
    middle = low + (high - low) / 2
    candidates = np.where(middle > low, middle, high)  # neighbouring floats have no number between them
    candidates[-1] = ranked[-1] / 2  # everything is predicted at 0, too
    value = np.append(nothing, values[is_last_of_equals])
    best = candidates[value >= value.max() - _TIE]
    return float(best[np.argmin(np.abs(best - 0.5))])
