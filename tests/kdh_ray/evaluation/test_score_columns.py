"""Scores as columns of a row: thresholds come from validation, and every metric is there."""

import numpy as np
import pytest

from kdh_ray.evaluation.metrics import METRICS
from kdh_ray.evaluation.score_columns import score_columns

VALIDATION = (np.array([[1, 0], [0, 1], [1, 1], [0, 0]]), np.array([[0.3, 0.1], [0.1, 0.3], [0.35, 0.3], [0.1, 0.05]]))
TEST = (np.array([[1, 0], [0, 1]]), np.array([[0.25, 0.1], [0.2, 0.6]]))


def test_thresholds_come_from_validation_only() -> None:
    columns = score_columns(VALIDATION, TEST, ["a", "b"])
    swapped = score_columns(VALIDATION, (1 - TEST[0], TEST[1]), ["a", "b"])
    assert columns["threshold"] == swapped["threshold"] == pytest.approx(0.2)
    assert columns["threshold_label.a"] == swapped["threshold_label.a"]


def test_each_split_has_each_metric_at_each_threshold() -> None:
    columns = score_columns(VALIDATION, TEST, ["a", "b"])
    for split in ("validation", "test"):
        for suffix in ("", "_at_half", "_per_label"):
            assert {f"{split}_{metric}{suffix}" for metric in METRICS} <= columns.keys()
    assert columns["validation_f1_micro"] == 1.0
    assert columns["validation_f1_micro_at_half"] == 0.0
    # At 0.2: a is right in document 0 and wrong in 1 (0.2 reaches 0.2); b is right in 1.
    assert columns["test_f1_micro"] == pytest.approx(0.8)
    assert columns["test_f1_label.b"] == 1.0


def test_threshold_is_tuned_for_the_official_metric() -> None:
    columns = score_columns(VALIDATION, TEST, ["a", "b"], metric="f1_blue")
    assert columns["metric"] == "f1_blue"
    assert columns["validation_f1_blue"] == pytest.approx(0.75)
