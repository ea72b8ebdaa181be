"""Tests of significance for the difference of two models on the same documents.

* Bootstrap intervals (Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13) and a permutation test
  (Yeh 2000, aclanthology.org/C00-2137) of micro F1, for two given models on one test split.
* For each label: McNemar's exact test with Holm's correction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kdh_ray.errors import DataError
from kdh_ray.evaluation.statistics import holm, import_extra

_BATCH_ELEMENTS = 2_000_000  # documents times resamples in memory at a time


@dataclass(frozen=True)
class DocumentComparison:
    """Comparison of the micro F1 of two models on the same documents.

    Attributes:
        first, second: Micro F1 of each model.
        difference: ``first - second``.
        low, high: Limits of the 95 % bootstrap interval of the difference.
        p: Two-sided p-value of the paired permutation test.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float


def compare_over_documents(
    targets: ArrayLike, first: ArrayLike, second: ArrayLike, resamples: int = 9999, seed: int = 0
) -> DocumentComparison:
    """Compare the micro F1 of two models by a paired bootstrap (percentiles) and a paired permutation test.

    The bootstrap draws documents with replacement. The permutation test swaps the two models' predictions on random
    documents. Both recompute the difference of micro F1 for each resample.

    Args:
        targets: (n_documents, n_labels) of 0 and 1.
        first: (n_documents, n_labels) predictions of one model, as 0 and 1.
        second: (n_documents, n_labels) predictions of the other model.
        resamples: Number of resamples of each procedure. The smallest possible p is 2 / (resamples + 1), or 2 / 2^n for
            few documents.
        seed: Seed of both procedures.

    Raises:
        DataError: If shapes differ, values are not 0 or 1, or there are fewer than 2 documents.
    """
    from scipy.stats import bootstrap, permutation_test

    truth, first_labels, second_labels = _binary(targets, first, second)
    n = len(truth)
    if n < 2:
        raise DataError(f"documents can be resampled from 2 on; got {n}")
    # scipy resamples one number per document and model: the index of a row of counts.
    counts = np.concatenate([_counts(truth, first_labels), _counts(truth, second_labels)])  # (2 n, 2)
    first_rows = np.arange(n)
    second_rows = np.arange(n, 2 * n)

    def difference(a: NDArray[np.int64], b: NDArray[np.int64], axis: int = -1) -> NDArray[np.float64]:
        return _micro_f1(counts[a], axis) - _micro_f1(counts[b], axis)

    batch = max(1, _BATCH_ELEMENTS // n)  # resamples at a time
    interval = bootstrap(
        (first_rows, second_rows), difference, paired=True, vectorized=True, n_resamples=resamples, batch=batch,
        method="percentile", rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    p = permutation_test(
        (first_rows, second_rows), difference, permutation_type="samples", vectorized=True, n_resamples=resamples,
        batch=batch, rng=np.random.default_rng(seed),
    ).pvalue  # fmt: skip
    return DocumentComparison(
        first=float(_micro_f1(counts[first_rows], -1)),
        second=float(_micro_f1(counts[second_rows], -1)),
        difference=float(difference(first_rows, second_rows)),
        low=float(interval.low),
        high=float(interval.high),
        p=float(p),
    )


@dataclass(frozen=True)
class LabelComparison:
    """Comparison of two models on one label, by McNemar's exact test.

    Attributes:
        label: Name of the label.
        only_first: Number of documents that only the first model gets right.
        only_second: Number of documents that only the second model gets right.
        p: Two-sided p-value: under the hypothesis of equal models, ``only_first`` is binomial with probability 1/2.
        p_holm: The p-value, corrected for the number of labels.
    """

    label: str
    only_first: int
    only_second: int
    p: float
    p_holm: float


def compare_labels(
    targets: ArrayLike, first: ArrayLike, second: ArrayLike, labels: Sequence[str]
) -> list[LabelComparison]:
    """Compare two models on each label by McNemar's exact test.

    Args:
        targets: (n_documents, n_labels) of 0 and 1.
        first: (n_documents, n_labels) predictions of one model, as 0 and 1.
        second: (n_documents, n_labels) predictions of the other model.
        labels: Names of the labels.

    Returns:
        A comparison per label, in column order.

    Raises:
        DataError: If shapes differ, values are not 0 or 1, or the number of names is wrong.
        UnavailableError: If statsmodels is not installed.
    """
    mcnemar = import_extra("statsmodels.stats.contingency_tables").mcnemar
    truth, first_labels, second_labels = _binary(targets, first, second)
    if len(labels) != truth.shape[1]:
        raise DataError(f"there must be a name for each of {truth.shape[1]} labels; got {len(labels)}")
    first_right = first_labels == truth
    second_right = second_labels == truth
    only_first = (first_right & ~second_right).sum(axis=0)  # (n_labels,)
    only_second = (~first_right & second_right).sum(axis=0)
    p_values = [
        float(mcnemar([[0, a], [b, 0]], exact=True).pvalue) for a, b in zip(only_first, only_second, strict=True)
    ]
    return [
        LabelComparison(label, int(a), int(b), p, p_holm)
        for label, a, b, p, p_holm in zip(labels, only_first, only_second, p_values, holm(p_values), strict=True)
    ]


def _binary(*values: ArrayLike) -> list[NDArray[np.int8]]:
    """Check targets and predictions, and return them as arrays, all (n_documents, n_labels)."""
    arrays = [np.asarray(each) for each in values]
    if any(array.ndim != 2 or array.shape != arrays[0].shape for array in arrays):
        raise DataError(
            "targets and predictions must all be (n_documents, n_labels); got "
            + ", ".join(str(array.shape) for array in arrays)
        )
    if any(not np.isin(array, (0, 1)).all() for array in arrays):
        raise DataError("targets and predictions must be 0 or 1; got other values (probabilities?)")
    return [array.astype(np.int8) for array in arrays]


def _counts(truth: NDArray[np.int8], predicted: NDArray[np.int8]) -> NDArray[np.int64]:
    """Count the numerator and the denominator of ``F1 = 2 TP / (labels + predictions)`` per document.

    Returns:
        (n_documents, 2). Micro F1 is the ratio of the columns' sums.
    """
    twice_right = 2 * (truth & predicted).sum(axis=1, dtype=np.int64)
    total = truth.sum(axis=1, dtype=np.int64) + predicted.sum(axis=1, dtype=np.int64)
    return np.stack([twice_right, total], axis=1)


def _micro_f1(counts: NDArray[np.int64], axis: int) -> NDArray[np.float64]:
    """Compute micro F1 from counts of shape (..., 2).

    Args:
        counts: Rows of :func:`_counts`, picked by an array of their indices.
        axis: The axis of that array along which documents are.
    """
    sums = counts.sum(axis=axis - 1 if axis < 0 else axis)  # counts have one axis more than the indices, at the end
    return np.asarray(sums[..., 0] / np.maximum(sums[..., 1], 1))
