"""Multi-label metrics, computed by scikit-learn.

With TP, FP and FN the numbers of true positives, false positives and false negatives::

    precision = TP / (TP + FP)    recall = TP / (TP + FN)    F1 = 2 TP / (2 TP + FP + FN)

``micro`` sums the numbers over all labels and documents. ``macro`` is the mean of the labels' values, ``weighted``
their mean weighted by support, and ``samples`` the mean of the documents' values.

Where a metric is not defined:

* zero divided by zero is 0 (scikit-learn's ``zero_division=0``). So a document that has no label and is predicted none
  adds 0 to the ``samples`` averages, and a label without positives adds 0 to the ``macro`` averages;
* average precision is not defined for a label without positives. The macro average leaves such labels out, and is NaN
  if no label has a positive. So is the micro average, which ranks all pairs of document and label together.

``log_loss`` is the mean over documents and labels of -y log p - (1 - y) log(1 - p), with p at least 1e-7 from 0 and 1.

A label is predicted where its probability is at or above its threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kdh_ray.errors import DataError

AVERAGES = ("micro", "macro", "weighted", "samples")
METRICS = (
    *(f"{kind}_{average}" for kind in ("f1", "precision", "recall") for average in AVERAGES),
    "f1_blue",
    "hamming_loss",
    "subset_accuracy",
    "average_precision_macro",
    "average_precision_micro",
    "log_loss",
)
"""Keys of :func:`score`. Higher is better, except for the two losses."""

_CLOSEST = 1e-7  # of a probability to 0 or 1 in log_loss; float32 has no more digits near 1

Thresholds = float | Sequence[float] | NDArray[np.float64]


def checked_arrays(targets: ArrayLike, probabilities: ArrayLike) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Check targets and probabilities, and return them as arrays, both (n_documents, n_labels).

    Raises:
        DataError: If shapes differ or are empty, targets are not 0 or 1, or probabilities are not in 0..1.
    """
    truth, scores = np.asarray(targets), np.asarray(probabilities, dtype=np.float64)
    if truth.ndim != 2 or truth.shape != scores.shape or truth.size == 0:
        raise DataError(
            "targets and probabilities must both be (n_documents, n_labels) and not empty; "
            f"got {truth.shape} and {scores.shape}"
        )
    if not np.isin(truth, (0, 1)).all():
        values = sorted({str(value) for value in np.unique(truth)} - {"0", "1", "0.0", "1.0"})
        raise DataError(f"targets must be 0 or 1; got {', '.join(values[:3])}")
    if not np.isfinite(scores).all():
        raise DataError(f"probabilities must be numbers; {int((~np.isfinite(scores)).sum())} are NaN or infinite")
    if scores.min() < 0.0 or scores.max() > 1.0:
        raise DataError(f"probabilities must lie in 0..1; got {scores.min():.4g}..{scores.max():.4g} (logits?)")
    return truth.astype(np.int8), scores


def apply_thresholds(probabilities: NDArray[np.float64], thresholds: Thresholds) -> NDArray[np.int8]:
    """Predict the labels whose probability is at or above the threshold.

    Args:
        probabilities: (n_documents, n_labels).
        thresholds: One for all labels, or (n_labels,).

    Returns:
        (n_documents, n_labels) of 0 and 1.

    Raises:
        DataError: If the number of thresholds is neither 1 nor n_labels, or one is NaN.
    """
    limits = np.asarray(thresholds, dtype=np.float64)
    if limits.shape not in ((), (probabilities.shape[1],)) or np.isnan(limits).any():
        raise DataError(
            f"thresholds must be one number or {probabilities.shape[1]}, one per label, none of them NaN; "
            f"got shape {limits.shape}"
        )
    return (probabilities >= limits).astype(np.int8)


def score(targets: ArrayLike, probabilities: ArrayLike, thresholds: Thresholds = 0.5) -> dict[str, float]:
    """Compute every metric of :data:`METRICS`.

    ``f1_blue`` is the official metric of ``hoc-blue``: with P and R the means over documents of precision and recall,
    2 P R / (P + R) (Peng et al. 2019, doi:10.18653/v1/W19-5006; ``blue/eval_hoc.py`` of BLUE_Benchmark).

    Args:
        targets: (n_documents, n_labels) of 0 and 1.
        probabilities: (n_documents, n_labels) in 0..1.
        thresholds: One for all labels, or (n_labels,).

    Returns:
        Metric -> value in 0..1 (``log_loss``: 0 or more), or NaN where average precision is not defined.

    Raises:
        DataError: If shapes differ, or values are outside what is allowed.

    Example:
        >>> score([[1, 0], [0, 1]], [[0.9, 0.2], [0.6, 0.8]])["f1_micro"]
        0.8
    """
    from sklearn.metrics import accuracy_score, hamming_loss, precision_recall_fscore_support

    truth, scores = checked_arrays(targets, probabilities)
    predicted = apply_thresholds(scores, thresholds)
    result: dict[str, float] = {}
    for average in AVERAGES:
        precision, recall, f1, _ = precision_recall_fscore_support(
            *_two_columns(truth, predicted), labels=range(truth.shape[1]), average=average, zero_division=0.0
        )
        result |= {f"f1_{average}": f1, f"precision_{average}": precision, f"recall_{average}": recall}
    result["f1_blue"] = _harmonic_mean(result["precision_samples"], result["recall_samples"])
    result["hamming_loss"] = hamming_loss(truth.ravel(), predicted.ravel())
    result["subset_accuracy"] = accuracy_score(*_two_columns(truth, predicted))
    average_precision = average_precisions(truth, scores)
    defined = average_precision[~np.isnan(average_precision)]
    result["average_precision_macro"] = defined.mean() if defined.size else np.nan
    result["average_precision_micro"] = average_precisions(truth.reshape(-1, 1), scores.reshape(-1, 1))[0]
    result["log_loss"] = log_losses(truth, scores).mean()
    return {name: float(result[name]) for name in METRICS}


def log_losses(targets: NDArray[np.int8], probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (n_documents,) mean over labels of each document's log loss.

    Args:
        targets: (n_documents, n_labels) of 0 and 1.
        probabilities: (n_documents, n_labels).
    """
    right = np.where(targets == 1, probabilities, 1.0 - probabilities)  # probability of the truth
    losses: NDArray[np.float64] = -np.log(np.clip(right, _CLOSEST, 1.0)).mean(1)
    return losses


def per_label(
    targets: ArrayLike, probabilities: ArrayLike, thresholds: Thresholds = 0.5, labels: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Compute the metrics of each label.

    Args:
        targets: (n_documents, n_labels) of 0 and 1.
        probabilities: (n_documents, n_labels) in 0..1.
        thresholds: One for all labels, or (n_labels,).
        labels: Names of the labels; the columns' numbers if not given.

    Returns:
        One dict per label, in column order, with ``label``, ``support``, ``precision``, ``recall``, ``f1``,
        ``average_precision`` (NaN without positives) and ``threshold``.

    Raises:
        DataError: As :func:`score`, and if the number of names differs from the number of columns.
    """
    from sklearn.metrics import precision_recall_fscore_support

    truth, scores = checked_arrays(targets, probabilities)
    names = [str(column) for column in range(truth.shape[1])] if labels is None else list(labels)
    if len(names) != truth.shape[1]:
        raise DataError(f"there must be a name for each of {truth.shape[1]} labels; got {len(names)}")
    predicted = apply_thresholds(scores, thresholds)
    values = precision_recall_fscore_support(
        *_two_columns(truth, predicted), labels=range(truth.shape[1]), average=None, zero_division=0.0
    )
    columns = dict(zip(("precision", "recall", "f1", "support"), values, strict=True))
    average_precision = average_precisions(truth, scores)
    limits = np.broadcast_to(np.asarray(thresholds, dtype=np.float64), truth.shape[1:])
    return [
        {
            "label": name,
            "support": int(columns["support"][j]),
            "precision": float(columns["precision"][j]),
            "recall": float(columns["recall"][j]),
            "f1": float(columns["f1"][j]),
            "average_precision": float(average_precision[j]),
            "threshold": float(limits[j]),
        }
        for j, name in enumerate(names)
    ]


def average_precisions(targets: NDArray[np.int8], probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute (n_labels,) average precisions; NaN for a label without positives.

    ``AP = sum_n (R_n - R_(n-1)) P_n``, with P_n and R_n precision and recall at the n-th threshold.

    Args:
        targets: (n_documents, n_labels) of 0 and 1.
        probabilities: (n_documents, n_labels).
    """
    from sklearn.metrics import average_precision_score

    return np.array(
        [
            average_precision_score(truth, scores) if truth.any() else np.nan
            for truth, scores in zip(targets.T, probabilities.T, strict=True)
        ]
    )


def _two_columns(*arrays: NDArray[np.int8]) -> list[NDArray[np.int8]]:
    """Return the arrays, with a column of zeros added where there is only one label.

    scikit-learn takes a single column for a binary problem, and would count the negatives as a second class.
    """
    return [np.pad(array, ((0, 0), (0, 1))) if array.shape[1] == 1 else array for array in arrays]


def _harmonic_mean(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b else 0.0


def without_nan(value: Any) -> Any:
    """Return nested dictionaries and lists with None for NaN, the value of an undefined metric: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, list):
        return [without_nan(each) for each in value]
    return None if isinstance(value, float) and np.isnan(value) else value
