"""Metrics against values worked out by hand."""

import numpy as np
import pytest

from kdh_ray.errors import DataError
from kdh_ray.evaluation.metrics import METRICS, per_label, score

# Predictions at 0.5:       1 1 0            1 0 1            0 0 0            0 1 0
TARGETS = np.array([[1, 0, 0], [1, 0, 1], [0, 0, 0], [1, 0, 0]])
PROBABILITIES = np.array([[0.9, 0.6, 0.1], [0.8, 0.2, 0.7], [0.3, 0.1, 0.2], [0.4, 0.5, 0.0]])


def test_scores_equal_hand_computed_values() -> None:
    # Label 0: TP 2, FP 0, FN 1. Label 1: FP 2 and no positive. Label 2: TP 1.
    scores = score(TARGETS, PROBABILITIES)
    assert scores["precision_micro"] == pytest.approx(3 / 5)
    assert scores["recall_micro"] == pytest.approx(3 / 4)
    assert scores["f1_micro"] == pytest.approx(6 / 9)
    assert scores["f1_macro"] == pytest.approx((0.8 + 0 + 1) / 3)
    assert scores["f1_weighted"] == pytest.approx((3 * 0.8 + 1 * 1) / 4)
    # A document: F1 2/3, 1, 0 (nothing to find, nothing found), 0.
    assert scores["f1_samples"] == pytest.approx((2 / 3 + 1) / 4)
    assert scores["hamming_loss"] == pytest.approx(3 / 12)
    assert scores["subset_accuracy"] == pytest.approx(2 / 4)


def test_blue_f1_is_harmonic_mean_of_document_means() -> None:
    scores = score(TARGETS, PROBABILITIES)
    precision, recall = (1 / 2 + 1 + 0 + 0) / 4, (1 + 1 + 0 + 0) / 4
    assert scores["f1_blue"] == pytest.approx(2 * precision * recall / (precision + recall))


def test_average_precision_leaves_out_labels_without_positives() -> None:
    # Label 0 ranks its three positives first; label 2 ranks its one first.
    assert score(TARGETS, PROBABILITIES)["average_precision_macro"] == pytest.approx(1.0)
    assert np.isnan(score(np.zeros((2, 2)), np.zeros((2, 2)))["average_precision_macro"])


def test_scores_have_every_metric_as_plain_floats() -> None:
    scores = score(TARGETS, PROBABILITIES)
    assert tuple(scores) == METRICS
    assert all(type(value) is float for value in scores.values())


def test_label_thresholds_apply_to_their_columns() -> None:
    scores = score(TARGETS, PROBABILITIES, np.array([0.35, 0.95, 0.5]))
    assert scores["f1_micro"] == 1.0


def test_probability_at_threshold_is_predicted() -> None:
    assert score(np.array([[1, 0]]), np.array([[0.5, 0.4]]))["f1_micro"] == 1.0


def test_lone_label_counts_no_negative_class() -> None:
    scores = score(np.array([[1], [0], [0], [1]]), np.array([[0.9], [0.8], [0.1], [0.2]]))
    assert scores["f1_micro"] == scores["f1_macro"] == scores["f1_weighted"] == pytest.approx(0.5)
    assert scores["f1_samples"] == pytest.approx(0.25)
    assert scores["hamming_loss"] == scores["subset_accuracy"] == pytest.approx(0.5)


def test_per_label_rows_name_support_and_threshold() -> None:
    rows = per_label(TARGETS, PROBABILITIES, [0.5, 0.5, 0.75], labels=["a", "b", "c"])
    assert [row["label"] for row in rows] == ["a", "b", "c"]
    assert [row["support"] for row in rows] == [3, 0, 1]
    assert rows[0]["recall"] == pytest.approx(2 / 3)
    assert rows[2] | {"average_precision": 1.0} == {
        "label": "c",
        "support": 1,
        "precision": 0.0,
        "recall": 0.0,
        "f1": 0.0,
        "average_precision": 1.0,
        "threshold": 0.75,
    }
    assert np.isnan(rows[1]["average_precision"])


@pytest.mark.parametrize(
    ("targets", "probabilities", "message"),
    [
        ([[0, 1]], [[0.5]], r"\(1, 2\) and \(1, 1\)"),
        ([0, 1], [0.5, 0.5], "n_documents, n_labels"),
        (np.zeros((0, 3)), np.zeros((0, 3)), "not empty"),
        ([[2, 0]], [[0.5, 0.5]], "0 or 1; got 2"),
        ([[np.nan, 0]], [[0.5, 0.5]], "0 or 1; got nan"),
        ([[1, 0]], [[np.nan, 0.5]], "1 are NaN"),
        ([[1, 0]], [[3.2, 0.5]], r"0\.5\.\.3\.2"),
    ],
)
def test_bad_arrays_are_refused_by_value(targets: object, probabilities: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        score(targets, probabilities)  # type: ignore[arg-type]


@pytest.mark.parametrize("thresholds", [[0.5, 0.5], [0.5, np.nan, 0.5], np.nan])
def test_bad_thresholds_are_refused(thresholds: object) -> None:
    with pytest.raises(DataError, match="thresholds must be"):
        score(TARGETS, PROBABILITIES, thresholds)  # type: ignore[arg-type]


def test_label_names_must_match_columns() -> None:
    with pytest.raises(DataError, match="3 labels; got 1"):
        per_label(TARGETS, PROBABILITIES, labels=["a"])


def test_threshold_free_metrics_equal_scikit_learns() -> None:
    from sklearn.metrics import average_precision_score, log_loss

    generator = np.random.default_rng(0)
    targets, probabilities = generator.integers(0, 2, (30, 4)), generator.random((30, 4)).round(2)
    scores = score(targets, probabilities.clip(0.01, 0.99))
    expected = average_precision_score(targets, probabilities.clip(0.01, 0.99), average="micro")
    assert scores["average_precision_micro"] == pytest.approx(expected)
    assert scores["log_loss"] == pytest.approx(log_loss(targets.ravel(), probabilities.clip(0.01, 0.99).ravel()))


def test_log_loss_of_a_certain_mistake_is_finite() -> None:
    assert score([[1, 0]], [[0.0, 0.0]])["log_loss"] == pytest.approx(-np.log(1e-7) / 2)
