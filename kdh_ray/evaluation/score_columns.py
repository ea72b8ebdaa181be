"""A model's scores as the columns of a result row, the thresholds tuned on validation and on nothing else."""

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
    """Every metric of both splits at the tuned threshold, at 0.5 (``_at_half``) and at ``_per_label`` thresholds.

    Args:
        validation: Targets and probabilities, each (n_documents, n_labels): the thresholds are tuned here.
        test: The same of the test split, only scored.
        labels: Names of the columns.
        metric: The protocol's official metric. The global threshold is tuned for it (for micro F1 where it has none).

    Returns:
        ``metric``, ``threshold``, ``threshold_label.NAME``, ``{validation,test}_METRIC[_at_half,_per_label]`` and
        ``{validation,test}_f1_label.NAME``.

    Raises:
        DataError: If shapes differ, or values are outside what is allowed.
    """
    shared = tune_global(*validation, metric if metric in TUNABLE else "f1_micro")
    own = tune_per_label(*validation)
    result: dict[str, Any] = {"metric": metric, "threshold": shared}
    result |= {f"threshold_label.{name}": float(value) for name, value in zip(labels, own, strict=True)}
    for split, arrays in (("validation", validation), ("test", test)):
        for suffix, thresholds in (("", shared), ("_at_half", 0.5), ("_per_label", own)):
            scores = score(*arrays, thresholds)
            result |= {f"{split}_{name}{suffix}": value for name, value in scores.items()}
        result |= {f"{split}_f1_label.{row['label']}": row["f1"] for row in per_label(*arrays, shared, labels)}
    return result
