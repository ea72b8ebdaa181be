"""Calibration by its definition and by scikit-learn; intervals that hold the score and cover the truth."""

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from kdh_ray.evaluation.calibration import brier_scores, calibration_errors, score_intervals
from kdh_ray.evaluation.metrics import per_label, score

LABELS = ["a", "b", "c"]


def drawn(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return targets that have the probabilities that they are predicted with."""
    generator = np.random.default_rng(seed)
    probabilities = generator.random((n, 3)) ** [1, 2, 4]
    return (generator.random((n, 3)) < probabilities).astype(np.int8), probabilities


def test_brier_score_is_that_of_scikit_learn() -> None:
    targets, probabilities = drawn(50)
    expected = [brier_score_loss(targets[:, j], probabilities[:, j]) for j in range(3)]
    np.testing.assert_allclose(brier_scores(targets, probabilities), expected)


def test_calibration_error_is_the_weighted_gap() -> None:
    targets = [[1], [0], [1], [1], [0]]
    probabilities = [[0.62], [0.62], [1.0], [0.05], [0.0]]
    # Bins of 1/15: two documents at 0.62 (share 0.5), one at 1.0 (1), two in the first bin (share 0.5, mean 0.025).
    expected = 2 / 5 * abs(0.5 - 0.62) + 0 + 2 / 5 * abs(0.5 - 0.025)
    np.testing.assert_allclose(calibration_errors(targets, probabilities), [expected])


def test_true_probabilities_are_calibrated_and_shifted_ones_are_not() -> None:
    targets, probabilities = drawn(20_000)
    assert calibration_errors(targets, probabilities).max() < 0.02
    assert calibration_errors(targets, np.clip(probabilities + 0.2, 0, 1)).min() > 0.1


def test_intervals_hold_the_scores_of_the_documents() -> None:
    targets, probabilities = drawn(120)
    overall, labels = score_intervals(targets, probabilities, [0.5, 0.4, 0.3], LABELS)
    expected = score(targets, probabilities, [0.5, 0.4, 0.3])
    for name, interval in overall.items():
        assert interval.value == pytest.approx(expected[name])
        assert interval.low < interval.value < interval.high
    for line in per_label(targets, probabilities, [0.5, 0.4, 0.3], LABELS):
        assert labels[line["label"]].value == pytest.approx(line["f1"])


def test_intervals_cover_the_truth_and_shrink_with_documents() -> None:
    truth = score(*drawn(200_000, seed=1))["f1_micro"]
    covered, widths = 0, []
    for seed in range(60):
        interval = score_intervals(*drawn(200, seed=seed + 2), 0.5, LABELS, resamples=400)[0]["f1_micro"]
        covered += interval.low <= truth <= interval.high
        widths.append(interval.high - interval.low)
    assert 51 <= covered <= 60  # 57 expected; 95 % of repetitions have 54 to 60
    wide = score_intervals(*drawn(3200), 0.5, LABELS, resamples=400)[0]["f1_micro"]
    assert np.mean(widths) / (wide.high - wide.low) == pytest.approx(4, rel=0.25)  # one over the root of n


def test_one_document_has_no_interval() -> None:
    overall, _ = score_intervals([[1, 0, 0]], [[0.9, 0.1, 0.1]], 0.5, LABELS)
    assert overall["f1_micro"].value == 1
    assert np.isnan([overall["f1_micro"].low, overall["f1_micro"].high]).all()
