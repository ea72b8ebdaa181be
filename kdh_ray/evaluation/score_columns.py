"""Scores of a model as columns of a result row, with thresholds tuned on the validation split only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from kdh_ray.evaluation.metrics import per_label, score
from kdh_ray.evaluation.thresholds import TUNABLE, tune_global, tune_per_label


def score_columns(
    validation: tuple[ArrayLike, ArrayLike],
    test: tuple[ArrayLike, ArrayLike],
    labels: Sequence[str],
    metric: str = "f1_micro",
) -> dict[str, Any]:
    """Score both splits at the tuned threshold, at 0.5 (``_at_half``) and at a threshold per label (``_per_label``).

    Args:
        validation: Targets and probabilities, each (n_documents, n_labels). Thresholds are tuned on them.
        test: Targets and probabilities of the test split, which is only scored.
        labels: Names of the columns.
        metric: The protocol's official metric, for which the global threshold is tuned; micro F1 if that can't be.

    Returns:
        Columns ``metric``, ``threshold``, ``threshold_label.NAME``, ``{validation,test}_METRIC[_at_half,_per_label]``
        and ``{validation,test}_f1_label.NAME``.

    Raises:
        DataError: If shapes differ, or values are outside what is allowed.
    """
    threshold = tune_global(*validation, metric if metric in TUNABLE else "f1_micro")
    label_thresholds = tune_per_label(*validation)  # (n_labels,)
    columns: dict[str, Any] = {"metric": metric, "threshold": threshold}
    columns |= {f"threshold_label.{name}": float(value) for name, value in zip(labels, label_thresholds, strict=True)}
    for split, arrays in (("validation", validation), ("test", test)):
        for suffix, thresholds in (("", threshold), ("_at_half", 0.5), ("_per_label", label_thresholds)):
            scores = score(*arrays, thresholds)
            columns |= {f"{split}_{name}{suffix}": value for name, value in scores.items()}
        columns |= {f"{split}_f1_label.{row['label']}": row["f1"] for row in per_label(*arrays, threshold, labels)}
    return columns
