"""Decision thresholds, chosen on the validation split and on nothing else.

Candidates lie midway between neighbouring probabilities, so that every split of the data that a threshold can make is
tried, all at once: the probabilities are sorted, and a metric's value after each one is a cumulative sum.

Sources: Yang 2001, doi:10.1145/383952.383975 (SCut: a threshold a label, and how it overfits rare labels);
Lipton, Elkan and Naryanaswamy 2014, doi:10.1007/978-3-662-44851-9_15 (the threshold that maximises F1 depends on the
F1 that can be reached, so 0.5 is seldom it); Pillai, Fumera and Roli 2013, doi:10.1016/j.patcog.2013.01.012 (micro F1
over label thresholds); Dinkelbach 1967, doi:10.1287/mnsc.13.7.492 (the ratio's exact optimum); Cestnik 1990 (the
m-estimate, which the shrinkage is).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kdh_ray.errors import DataError
from kdh_ray.evaluation.metrics import check

TUNABLE = ("f1_micro", "f1_macro", "f1_weighted", "f1_samples", "f1_blue")
_TIE = 1e-12  # scores closer than this differ by rounding only
_GroupValue = Callable[[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]


def tune_global(targets: ArrayLike, probabilities: ArrayLike, metric: str = "f1_micro") -> float:
    """The one threshold for all labels at which ``metric`` is highest; of equals, the one nearest 0.5.

    Args:
        targets: (n_documents, n_labels) of 0 and 1, of the validation split.
        probabilities: (n_documents, n_labels) in 0..1.
        metric: One of :data:`TUNABLE`.

    Returns:
        The threshold; 0.5 where there is no positive to tune on.

    Raises:
        DataError: If shapes or values are wrong, or the metric is not tunable.
    """
    truth, scores = check(targets, probabilities)
    if metric not in TUNABLE:
        raise DataError(f"a threshold is tuned for one of {', '.join(TUNABLE)}; got {metric!r}")
    if not truth.any():
        return 0.5
    order = np.argsort(-scores, axis=None, kind="stable")
    rows, columns = np.unravel_index(order, scores.shape)
    hits = truth.ravel()[order].astype(np.int64)
    if metric == "f1_micro":
        values = _f1(np.cumsum(hits), np.arange(1, hits.size + 1), hits.sum())
    elif metric in ("f1_macro", "f1_weighted"):
        support = truth.sum(axis=0, dtype=np.int64)
        weights = support / support.sum() if metric == "f1_weighted" else np.full(support.size, 1 / support.size)
        values = _mean_over_groups(hits, columns, lambda true, count, group: _f1(true, count, support[group]), weights)
    else:
        values = _document_f1(truth, hits, rows, metric)
    return _best_threshold(scores.ravel()[order], values)


def tune_per_label(
    targets: ArrayLike, probabilities: ArrayLike, shrink: float = 20.0, metric: str = "f1_micro"
) -> NDArray[np.float64]:
    """A threshold a label, drawn towards the global one where a label has few positives.

    With n_j positives, label j gets ``(n_j * own_j + shrink * global) / (n_j + shrink)``.

    Args:
        targets: (n_documents, n_labels) of 0 and 1, of the validation split.
        probabilities: (n_documents, n_labels) in 0..1.
        shrink: Positives that the global threshold counts for; 0 gives each label its own.
        metric: ``f1_micro`` (the labels' thresholds together maximise it) or ``f1_macro`` (each label's own F1).

    Returns:
        (n_labels,) thresholds. A label without positives has the global one.

    Raises:
        DataError: If shapes or values are wrong, ``shrink`` is negative, or the metric is another.
    """
    truth, scores = check(targets, probabilities)
    if metric not in ("f1_micro", "f1_macro"):
        raise DataError(f"label thresholds are tuned for f1_micro or f1_macro; got {metric!r}")
    if not shrink >= 0.0:
        raise DataError(f"shrink must be at least 0; got {shrink}")
    shared = tune_global(truth, scores, metric)
    own = _own_micro(truth, scores, shared) if metric == "f1_micro" else _own_f1(truth, scores, shared)
    if np.isinf(shrink):
        return np.full(truth.shape[1], shared)
    support = truth.sum(axis=0, dtype=np.float64)
    return np.where(support > 0, (support * own + shrink * shared) / np.maximum(support + shrink, 1e-300), shared)


def _own_f1(truth: NDArray[np.int8], scores: NDArray[np.float64], shared: float) -> NDArray[np.float64]:
    """(n_labels,) thresholds that maximise each label's F1."""
    own = [tune_global(truth[:, [j]], scores[:, [j]]) for j in range(truth.shape[1])]
    return np.where(truth.any(axis=0), own, shared)


def _own_micro(truth: NDArray[np.int8], scores: NDArray[np.float64], shared: float) -> NDArray[np.float64]:
    """(n_labels,) thresholds that together maximise micro F1, by Dinkelbach's method.

    Micro F1 is 2 TP / (predicted + positive). Its maximum f is where the maximum of 2 TP - f * (predicted + positive)
    is zero, and that difference falls apart into labels. From any start, f climbs to it in a few rounds.
    """
    order = np.argsort(-scores, axis=0, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=0)
    true = np.cumsum(np.take_along_axis(truth, order, axis=0), axis=0, dtype=np.int64)
    predicted = np.arange(1, truth.shape[0] + 1)[:, None]
    thresholds = np.full(truth.shape[1], shared)
    reached = _micro_f1(truth, scores, thresholds)
    while True:
        margins = 2 * true - reached * predicted
        best = [_best_threshold(ranked[:, j], margins[:, j], nothing=0.0) for j in range(truth.shape[1])]
        proposal = np.where(truth.any(axis=0), best, shared)
        value = _micro_f1(truth, scores, proposal)
        if value <= reached + _TIE:
            return thresholds
        thresholds, reached = proposal, value


def _micro_f1(truth: NDArray[np.int8], scores: NDArray[np.float64], thresholds: NDArray[np.float64]) -> float:
    predicted = scores >= thresholds
    return float(_f1(np.sum(predicted & (truth == 1)), np.sum(predicted), np.sum(truth, dtype=np.int64)))


def _f1(true: ArrayLike, predicted: ArrayLike, positive: ArrayLike) -> NDArray[np.float64]:
    """F1 from counts; 0 where nothing is predicted or positive."""
    total = np.asarray(predicted) + np.asarray(positive)
    return np.asarray(2.0 * np.asarray(true) / np.maximum(total, 1))


def _document_f1(
    truth: NDArray[np.int8], hits: NDArray[np.int64], rows: NDArray[np.int64], metric: str
) -> NDArray[np.float64]:
    """(n,) samples F1, or BLUE's F1, after each prediction."""
    support = truth.sum(axis=1, dtype=np.int64)
    weights = np.full(support.size, 1 / support.size)
    if metric == "f1_samples":
        return _mean_over_groups(hits, rows, lambda true, count, group: _f1(true, count, support[group]), weights)
    precision = _mean_over_groups(hits, rows, lambda true, count, _: true / np.maximum(count, 1), weights)
    recall = _mean_over_groups(hits, rows, lambda true, _, group: true / np.maximum(support[group], 1), weights)
    return 2 * precision * recall / np.maximum(precision + recall, 1e-300)


def _mean_over_groups(
    hits: NDArray[np.int64], groups: NDArray[np.int64], value: _GroupValue, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(n,) weighted mean over groups (labels or documents) of a group's value, after each prediction.

    One prediction changes one group, so the mean is a cumulative sum of changes.

    Args:
        hits: (n,) 1 where the prediction is right; predictions in falling order of probability.
        groups: (n,) the group of each.
        value: From (true, predicted, group), arrays of one shape, to the group's value; 0 where nothing is predicted.
        weights: (n_groups,) that sum to 1.
    """
    by_group = np.argsort(groups, kind="stable")
    group, hit = groups[by_group], hits[by_group]
    start = np.searchsorted(group, group)  # where each one's group begins
    count = np.arange(1, hit.size + 1) - start
    true = np.cumsum(hit) - (np.cumsum(hit) - hit)[start]
    changes = np.empty(hit.size)
    changes[by_group] = weights[group] * (value(true, count, group) - value(true - hit, count - 1, group))
    return np.cumsum(changes)


def _best_threshold(ranked: NDArray[np.float64], values: NDArray[np.float64], nothing: float = -np.inf) -> float:
    """The threshold with the highest value; of equals, the one nearest 0.5.

    Args:
        ranked: (n,) probabilities in falling order.
        values: (n,) ``values[i]``: of predicting the first i + 1.
        nothing: Of predicting none.
    """
    last = np.append(ranked[:-1] > ranked[1:], True)  # equal probabilities can't be told apart
    high = np.append(np.inf if ranked[0] == 1.0 else 1.0, ranked[last])
    low = np.append(ranked[last], 0.0)
    # Between neighbours in floating point there is nothing: then the upper one itself parts them.
    middle = low + (np.minimum(high, 2.0) - low) / 2
    candidates = np.where(middle > low, middle, np.minimum(high, 2.0))
    candidates[-1] = ranked[-1] / 2
    value = np.append(nothing, values[last])
    equal = candidates[value >= value.max() - _TIE]
    return float(equal[np.argmin(np.abs(equal - 0.5))])
