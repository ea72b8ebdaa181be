"""Calibration of each label's probabilities, and bootstrap intervals of scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kdh_ray.evaluation.metrics import Thresholds, apply_thresholds, checked_arrays

BINS = 15  # as in Guo et al. (2017)
RESAMPLES = 2000
_MOST_DRAWS = 2**22  # numbers in memory at a time
_SCORES = ("f1_micro", "precision_micro", "recall_micro", "f1_macro")


def brier_scores(targets: ArrayLike, probabilities: ArrayLike) -> NDArray[np.float64]:
    """Compute (n_labels,) Brier scores: the mean over documents of (p - y)^2 (Brier 1950).

    Args:
        targets: (n_documents, n_labels) of 0 and 1.
        probabilities: (n_documents, n_labels) in 0..1.

    Raises:
        DataError: If shapes or values are wrong.
    """
    truth, scores = checked_arrays(targets, probabilities)
    return np.asarray(((scores - truth) ** 2).mean(axis=0))


def calibration_errors(targets: ArrayLike, probabilities: ArrayLike, bins: int = BINS) -> NDArray[np.float64]:
    """Compute (n_labels,) expected calibration errors: ``ECE = sum_b n_b / n |mean(y in b) - mean(p in b)|``.

    The bins b divide 0..1 into equal widths (Guo et al. 2017, "On calibration of modern neural networks", with the
    probability of the label as the confidence). With few documents the error is too high by chance.

    Args:
        targets: (n_documents, n_labels) of 0 and 1.
        probabilities: (n_documents, n_labels) in 0..1.
        bins: Number of bins.

    Raises:
        DataError: If shapes or values are wrong.

    Example:
        >>> calibration_errors([[1], [1], [0], [0]], [[0.75], [0.75], [0.25], [0.25]]).tolist()
        [0.25]
    """
    truth, scores = checked_arrays(targets, probabilities)
    places = np.minimum((scores * bins).astype(np.int64), bins - 1)  # (n_documents, n_labels)
    gaps = [np.bincount(places[:, j], scores[:, j] - truth[:, j], bins) for j in range(truth.shape[1])]
    return np.asarray(np.abs(np.stack(gaps)).sum(axis=1) / len(truth))


@dataclass(frozen=True)
class Interval:
    """A score and its 95 % interval.

    Attributes:
        value: Score of the documents.
        low, high: Limits of the percentile bootstrap over documents; NaN for a single document.
    """

    value: float
    low: float
    high: float


def score_intervals(
    targets: ArrayLike,
    probabilities: ArrayLike,
    thresholds: Thresholds,
    labels: Sequence[str],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[dict[str, Interval], dict[str, Interval]]:
    """Compute scores with 95 % intervals: percentiles over documents drawn with replacement (Efron 1979).

    Args:
        targets: (n_documents, n_labels) of 0 and 1.
        probabilities: (n_documents, n_labels) in 0..1.
        thresholds: One for all labels, or (n_labels,).
        labels: Names of the labels.
        resamples: Number of resamples.
        seed: Of the draws.

    Returns:
        Micro F1, precision and recall and macro F1, as :func:`kdh_ray.evaluation.metrics.score` names them; and the F1
        of each label.

    Raises:
        DataError: If shapes or values are wrong.
    """
    truth, scores = checked_arrays(targets, probabilities)
    predicted = apply_thresholds(scores, thresholds)
    counts = np.concatenate([truth & predicted, predicted, truth], axis=1).astype(np.float64)  # (n, 3 n_labels)
    n = len(counts)
    generator = np.random.default_rng(seed)
    totals = []
    for start in range(0, resamples, step := max(1, _MOST_DRAWS // n)):
        # How often each document is drawn; the sums over the drawn documents are then one matrix product.
        weights = generator.multinomial(n, np.full(n, 1 / n), size=min(step, resamples - start))
        totals.append(weights @ counts)
    own, drawn = _scores(counts.sum(axis=0, keepdims=True)), _scores(np.concatenate(totals))
    limits = np.quantile(drawn, [0.025, 0.975], axis=0) if n > 1 else np.full((2, own.shape[1]), np.nan)
    intervals = [Interval(*map(float, values)) for values in zip(own[0], *limits, strict=True)]
    names = len(_SCORES)
    return (
        dict(zip(_SCORES, intervals[:names], strict=True)),
        dict(zip(labels, intervals[names:], strict=True)),
    )


def _scores(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n_resamples, 4 + n_labels) scores from sums of true positives, predictions and positives per label."""
    hits, predicted, positive = np.split(totals, 3, axis=1)  # each (n_resamples, n_labels)
    f1 = _ratio(2 * hits, predicted + positive)
    all_hits, all_predicted, all_positive = (each.sum(axis=1) for each in (hits, predicted, positive))
    whole: list[Any] = [
        _ratio(2 * all_hits, all_predicted + all_positive), _ratio(all_hits, all_predicted),
        _ratio(all_hits, all_positive), f1.mean(axis=1),
    ]  # fmt: skip
    return np.column_stack([*whole, f1])


def _ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the quotients; 0 where both are 0."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
