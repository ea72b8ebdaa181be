"""Tests of significance against published examples, and refusals of wrong pairs."""

import sys

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import ttest_1samp

from kdh_ray.errors import DataError, UnavailableError
from kdh_ray.evaluation.document_statistics import compare_labels, compare_over_documents
from kdh_ray.evaluation.metrics import score
from kdh_ray.evaluation.statistics import compare_over_corpora, compare_over_seeds, holm, rank_biserial

pytest.importorskip("statsmodels", reason="extra 'statistics' is not installed")
pytest.importorskip("scikit_posthocs", reason="extra 'statistics' is not installed")

# Demsar 2006, table 6: AUC of four decision-tree learners on 14 data sets. The paper ranks before rounding; 0.9751
# stands for the 0.975 of C4.5+cf on voting that it ranks above C4.5+m+cf's.
DEMSAR = pd.DataFrame(
    {
        "C4.5": [0.763, 0.599, 0.954, 0.628, 0.882, 0.936, 0.661, 0.583, 0.775, 1.0, 0.940, 0.619, 0.972, 0.957],
        "C4.5+m": [0.768, 0.591, 0.971, 0.661, 0.888, 0.931, 0.668, 0.583, 0.838, 1.0, 0.962, 0.666, 0.981, 0.978],
        "C4.5+cf": [0.771, 0.590, 0.968, 0.654, 0.886, 0.916, 0.609, 0.563, 0.866, 1.0, 0.965, 0.614, 0.9751, 0.946],
        "C4.5+m+cf": [0.798, 0.569, 0.967, 0.657, 0.898, 0.931, 0.685, 0.625, 0.875, 1.0, 0.962, 0.669, 0.975, 0.970],
    },
    index=[f"data set {number}" for number in range(14)],
)


def test_mean_ranks_and_critical_difference_equal_demsar() -> None:
    comparison = compare_over_corpora(DEMSAR)
    assert {method: round(rank, 3) for method, rank in comparison.ranks.items()} == {
        "C4.5": 3.143,
        "C4.5+m": 2.000,
        "C4.5+cf": 2.893,
        "C4.5+m+cf": 1.964,
    }
    assert comparison.critical_difference == pytest.approx(1.25, abs=0.005)
    # scipy's own cross-check of this example; the paper's 9.28 is not corrected for ties.
    assert comparison.p == pytest.approx(0.0167215803284414)
    # The largest gap of ranks, 3.143 - 1.964, is below the critical difference: no pair differs at 5 %.
    assert (comparison.nemenyi.to_numpy() >= 0.05).all()
    assert comparison.nemenyi.loc["C4.5", "C4.5+m+cf"] < 0.1


def test_critical_difference_at_another_level_equals_demsar() -> None:
    # Table 5 of the paper: q = 2.291 for 4 methods at 0.10.
    assert compare_over_corpora(DEMSAR, level=0.10).critical_difference == pytest.approx(
        2.291 * np.sqrt(4 * 5 / (6 * 14)), abs=1e-3
    )


def test_signed_ranks_equal_demsar() -> None:
    # Section 3.1.3: C4.5+m against C4.5 gives R+ = 93, R- = 12, beyond the 5 % limit for 14 data sets.
    assert rank_biserial(DEMSAR["C4.5+m"] - DEMSAR["C4.5"]) == pytest.approx((93 - 12) / (93 + 12))
    scores = {method: dict(enumerate(DEMSAR[method])) for method in ("C4.5", "C4.5+m")}
    assert compare_over_seeds(scores, "C4.5")[0].p < 0.05


def test_holm_multiplies_step_by_step() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.04]) == [0.04]


def test_one_seed_warns_of_no_significance() -> None:
    comparison = compare_over_seeds({"plain": {0: 0.5}, "distilled": {0: 0.6}}, "plain")[0]
    assert comparison.p == comparison.smallest_p == 1.0
    assert comparison.note == "1 seed can't give p below 1; at least 10 are wanted"


def test_untested_methods_need_no_correction() -> None:
    seeds = range(6)
    scores = {
        "plain": dict.fromkeys(seeds, 0.5),
        "distilled": {seed: 0.6 + seed / 100 for seed in seeds},
        "teacher": {0: 0.9},
        "late": {9: 0.9},
    }
    found = {each.method: each for each in compare_over_seeds(scores, "plain")}
    assert found["distilled"].p_holm == found["distilled"].p == pytest.approx(2 / 2**6)
    assert (found["teacher"].n, found["teacher"].p_holm) == (1, 1.0)
    assert (found["late"].n, found["late"].p_holm, found["late"].note) == (0, 1.0, "no seed in common")


def test_interval_over_seeds_equals_scipy() -> None:
    differences = [0.01, 0.03, 0.02, 0.06]
    scores = {"plain": dict.fromkeys(range(4), 0.5), "distilled": {n: 0.5 + d for n, d in enumerate(differences)}}
    comparison = compare_over_seeds(scores, "plain")[0]
    expected = ttest_1samp(differences, 0.0).confidence_interval(0.95)
    assert (comparison.low, comparison.high) == pytest.approx((expected.low, expected.high))


def test_five_seeds_warn_of_no_significance() -> None:
    scores = {"plain": dict.fromkeys(range(5), 0.5), "distilled": {seed: 0.6 + seed / 100 for seed in range(5)}}
    comparison = compare_over_seeds(scores, "plain")[0]
    assert comparison.p == comparison.smallest_p == 0.0625
    assert comparison.effect == 1.0
    assert "5 seeds can't give p below 0.0625" in comparison.note


def test_ten_seeds_need_no_note() -> None:
    scores = {"plain": dict.fromkeys(range(10), 0.5), "distilled": {seed: 0.6 + seed / 100 for seed in range(10)}}
    comparison = compare_over_seeds(scores, "plain")[0]
    assert comparison.p == pytest.approx(2 / 2**10)
    assert comparison.note == ""


def test_only_seeds_that_both_have_are_paired() -> None:
    scores = {"plain": {0: 0.5, 1: 0.6, 2: 0.9}, "distilled": {1: 0.7, 2: 0.9, 3: 0.1}}
    comparison = compare_over_seeds(scores, "plain")[0]
    assert comparison.n == 2
    assert comparison.difference == pytest.approx(0.05)


def test_equal_scores_are_no_difference() -> None:
    comparison = compare_over_seeds({"a": {0: 0.5, 1: 0.5}, "b": {0: 0.5, 1: 0.5}}, "a")[0]
    assert (comparison.p, comparison.effect, comparison.difference) == (1.0, 0.0, 0.0)


def test_methods_without_common_seed_are_refused() -> None:
    with pytest.raises(DataError, match="no seed in common"):
        compare_over_seeds({"a": {0: 0.5}, "b": {1: 0.5}}, "a")
    with pytest.raises(DataError, match="must be one of a, b; got 'c'"):
        compare_over_seeds({"a": {0: 0.5}, "b": {1: 0.5}}, "c")


def noisy(targets: NDArray[np.int64], rate: float, seed: int) -> NDArray[np.int64]:
    return np.where(np.random.default_rng(seed).random(targets.shape) < rate, 1 - targets, targets)


TARGETS = (np.random.default_rng(0).random((120, 5)) < 0.3).astype(np.int64)


def test_document_comparison_reports_the_micro_f1_of_both() -> None:
    first, second = noisy(TARGETS, 0.05, 1), noisy(TARGETS, 0.2, 2)
    comparison = compare_over_documents(TARGETS, first, second, resamples=499)
    assert comparison.first == pytest.approx(score(TARGETS, first)["f1_micro"])
    assert comparison.second == pytest.approx(score(TARGETS, second)["f1_micro"])
    assert comparison.low < comparison.difference < comparison.high
    assert comparison.low > 0
    assert comparison.p == pytest.approx(2 / 500)  # the smallest that 499 resamples can give, two-sided


def test_swapped_models_swap_the_sign() -> None:
    first, second = noisy(TARGETS, 0.05, 1), noisy(TARGETS, 0.07, 2)
    one = compare_over_documents(TARGETS, first, second, resamples=499)
    other = compare_over_documents(TARGETS, second, first, resamples=499)
    assert one.difference == -other.difference
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


def test_one_model_against_itself_is_no_difference() -> None:
    first = noisy(TARGETS, 0.1, 1)
    comparison = compare_over_documents(TARGETS, first, first, resamples=99)
    assert (comparison.difference, comparison.low, comparison.high, comparison.p) == (0.0, 0.0, 0.0, 1.0)


def test_permutation_of_few_documents_is_exact() -> None:
    targets = np.ones((3, 1), dtype=int)
    comparison = compare_over_documents(targets, targets, 0 * targets, resamples=999)
    assert comparison.p == pytest.approx(2 / 2**3)


def test_interval_covers_the_true_difference_of_equal_models() -> None:
    covered = 0
    for trial in range(20):
        first, second = noisy(TARGETS, 0.1, 100 + trial), noisy(TARGETS, 0.1, 200 + trial)
        comparison = compare_over_documents(TARGETS, first, second, resamples=199, seed=trial)
        covered += comparison.low <= 0 <= comparison.high
    assert covered >= 16  # 19 are expected


def test_mcnemar_equals_agresti() -> None:
    # Agresti 1990, approval of a prime minister: 150 changed one way and 86 the other, z^2 = 17.36; exact here.
    truth = np.ones((1600, 1), dtype=int)
    first = np.concatenate([np.ones(794), np.ones(150), np.zeros(86), np.zeros(570)])[:, None].astype(int)
    second = np.concatenate([np.ones(794), np.zeros(150), np.ones(86), np.zeros(570)])[:, None].astype(int)
    comparison = compare_labels(truth, first, second, ["approval"])[0]
    assert (comparison.only_first, comparison.only_second) == (150, 86)
    assert comparison.p == pytest.approx(3.7e-5, rel=0.05)


def test_labels_are_corrected_together() -> None:
    first, second = noisy(TARGETS, 0.05, 1), noisy(TARGETS, 0.2, 2)
    lines = compare_labels(TARGETS, first, second, list("abcde"))
    assert [line.label for line in lines] == list("abcde")
    assert [line.p_holm for line in lines] == pytest.approx(holm([line.p for line in lines]))


@pytest.mark.parametrize(
    "index",
    [
        [("hoc-blurb", "small"), ("hoc-blurb", "medium"), ("hoc-blurb", "large")],
        ["hoc-blurb", "hoc-blue", "other"],
        [("mine", "small"), ("mine", "large"), ("other", "large")],
    ],
)
def test_samples_of_one_corpus_are_refused(index: list[object]) -> None:
    frame = pd.DataFrame(np.random.default_rng(0).random((3, 3)), columns=list("abc"))
    frame.index = pd.Index(index, tupleize_cols=False)
    with pytest.raises(DataError, match="samples of one corpus, so they are not independent"):
        compare_over_corpora(frame)


def test_too_few_or_missing_cells_are_refused() -> None:
    with pytest.raises(DataError, match="at least 3 corpora and 3 methods; got 2 and 4"):
        compare_over_corpora(DEMSAR.iloc[:2])
    with pytest.raises(DataError, match="some are missing"):
        compare_over_corpora(DEMSAR.where(DEMSAR != 0.763))


def test_probabilities_instead_of_predictions_are_refused() -> None:
    with pytest.raises(DataError, match=r"0 or 1; got other values \(probabilities\?\)"):
        compare_over_documents(TARGETS, TARGETS * 0.7, TARGETS)
    with pytest.raises(DataError, match=r"got \(120, 5\), \(120, 4\)"):
        compare_labels(TARGETS, TARGETS[:, :4], TARGETS, list("abcde"))


def test_missing_extra_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "statsmodels", None)
    with pytest.raises(UnavailableError, match="pip install"):
        holm([0.1, 0.2])
