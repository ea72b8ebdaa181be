"""First screen of a report: the best student, its differences from others, and how they were computed."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from result_rows import make_predictions

from kdh_ray.report import make_report
from kdh_ray.report.winner import winner
from kdh_ray.report.wording import signed
from kdh_ray.results.method_rows import finished_rows
from kdh_ray.results.saved_predictions import StagePrediction


@pytest.fixture
def predictions() -> dict[tuple[str, str], StagePrediction]:
    return make_predictions()


def test_winner_is_a_student_compared_with_each_kind(study: pd.DataFrame) -> None:
    found = winner(finished_rows(study), {})
    assert (found.method, found.size, found.n, found.is_student) == ("distilled", "large", 3, True)
    assert found.mean == pytest.approx(77.0)
    roles = {each.role: (each.method, round(each.points, 6)) for each in found.comparisons}
    assert roles == {
        "the best student without a teacher": ("plain", 6.0),
        "the best teacher": ("teacher", -4.0),
        "the best baseline": ("tf-idf", 11.0),
    }


def test_more_seeds_win_a_tie(study: pd.DataFrame) -> None:
    lucky = study[(study["stage"] == "distilled") & (study["seed"] == 0)].assign(stage="lucky", run_id="lucky")
    for f1, best in ((0.7704, "distilled"), (0.7706, "lucky")):
        found = winner(finished_rows(pd.concat([study, lucky.assign(test_f1_micro=f1)])), {})
        assert found.method == best


def test_method_with_other_seeds_hides_no_rival(study: pd.DataFrame) -> None:
    lucky = study[(study["stage"] == "teacher") & (study["seed"] == 0)].assign(stage="lucky", seed=9, run_id="lucky")
    lucky["test_f1_micro"] += 0.1
    found = winner(finished_rows(pd.concat([study, lucky])), {})
    assert {each.role: each.method for each in found.comparisons}["the best teacher"] == "teacher"


@pytest.mark.parametrize("start", ["distilled", "/runs/best/stages/distilled/checkpoint"])
def test_finetuned_distilled_student_counts_as_distilled(study: pd.DataFrame, start: str) -> None:
    tuned = study[study["stage"] == "plain"].assign(stage="finetuned", config_start=start)
    tuned["test_f1_micro"] += 0.02
    found = winner(finished_rows(pd.concat([study, tuned], ignore_index=True)), {})
    roles = {each.role: each.method for each in found.comparisons}
    assert roles["the best student without a teacher"] == "plain"
    assert roles["the best other student"] == "finetuned"


def test_one_seed_makes_no_table_of_tests(study: pd.DataFrame) -> None:
    report = make_report(study[study["seed"] == 0])
    reasons = {each.title: each.reason for section in report.sections for each in section.left_out}
    assert reasons["Tests over seeds"] == "no two methods share more than one seed"


def test_without_predictions_seeds_give_the_interval(study: pd.DataFrame) -> None:
    pytest.importorskip("statsmodels", reason="extra 'report' is not installed")
    study.loc[(study["stage"] == "plain") & (study["seed"] == 1), "test_f1_micro"] -= 0.02
    first = winner(finished_rows(study), {}).comparisons[0]
    assert first.low == pytest.approx(3.798, abs=1e-3)  # 6.667 -+ 4.303 * 1.155 / sqrt(3)
    assert first.high == pytest.approx(9.535, abs=1e-3)
    assert first.words.startswith("interval over seeds; from +6.0 to +8.0 over 3 seeds (Wilcoxon p = 0.75 after Holm; ")
    assert "3 seeds can't give p below 0.25" in first.words
    assert "no saved predictions" in first.words


def test_first_screen_and_table_share_p(study: pd.DataFrame) -> None:
    pytest.importorskip("statsmodels", reason="extra 'report' is not installed")
    report = make_report(study)
    tables = {table.title: table for section in report.sections for table in section.tables}
    lines = tables["Every method against distilled, paired by seed"].frame
    lines = lines[lines["size"] == "large"].set_index("method")
    assert set(lines.index) == {each.method for each in report.winners[0].comparisons} == {"plain", "teacher", "tf-idf"}
    for each in report.winners[0].comparisons:
        assert f"p = {lines.loc[each.method, 'p (Holm)']} after Holm" in each.words
    assert lines.loc["plain", "difference"] == "-6.0"


def test_methods_without_enough_common_seeds_are_named(study: pd.DataFrame) -> None:
    pytest.importorskip("statsmodels", reason="extra 'report' is not installed")
    report = make_report(study[(study["stage"] != "teacher") | (study["seed"] == 0)])
    tables = {table.title: table for section in report.sections for table in section.tables}
    table = tables["Every method against distilled, paired by seed"]
    assert "teacher" not in table.frame["method"].tolist()
    assert "Not tested, for lack of two common seeds: teacher." in table.note


def test_size_without_shared_seed_is_skipped(study: pd.DataFrame) -> None:
    pytest.importorskip("statsmodels", reason="extra 'report' is not installed")
    study.loc[(study["size"] == "small") & (study["stage"] == "distilled"), "seed"] += 9
    report = make_report(study)
    tables = {table.title: table for section in report.sections for table in section.tables}
    table = tables["Every method against distilled, paired by seed"]
    assert table.frame["size"].unique().tolist() == ["medium", "large"]
    assert "Nothing shares a seed with 'distilled' on hoc-blurb small." in table.note


def test_repeated_run_counts_once_with_a_note(study: pd.DataFrame) -> None:
    again = study[(study["stage"] == "plain") & (study["size"] == "large")].assign(run_id="again", test_f1_micro=0.5)
    report = make_report(pd.concat([study, again]))
    tables = {table.title: table for section in report.sections for table in section.tables}
    methods = tables["All methods"].frame.set_index(["size", "stage"])
    assert methods.loc[("large", "plain"), ["n", "official"]].tolist() == [3, 0.5]
    said = tables["Notes (1)"].frame["note"].tolist()
    assert said == ["plain at size large was run again with seed 0, 1, 2: the last run counts, not the 3 before"]
    assert report.facts["Left aside"] == "1 note: see the end"


def test_seeds_with_other_test_documents_are_not_stacked(
    study: pd.DataFrame, predictions: dict[tuple[str, str], StagePrediction]
) -> None:
    for stage in ("distilled", "plain"):
        key = ("large-1", stage)
        short = predictions[key]
        predictions[key] = replace(short, targets=short.targets[:50], probabilities=short.probabilities[:50])
    first = winner(finished_rows(study), predictions).comparisons[0]
    assert "test documents differ between seeds" in first.words
    assert "paired bootstrap" not in first.words


def test_rounded_zero_has_no_sign() -> None:
    assert [signed(points) for points in (-0.04, 0.0, 0.06, -1.25)] == ["0.0", "0.0", "+0.1", "-1.2"]


def test_predictions_give_an_interval_over_documents(
    study: pd.DataFrame, predictions: dict[tuple[str, str], StagePrediction]
) -> None:
    first, against_teacher, _ = winner(finished_rows(study), predictions).comparisons
    assert first.low is not None
    assert first.high is not None
    assert 0 < first.low < first.high
    assert "paired bootstrap over 200 documents" in first.words
    assert against_teacher.high is not None
    assert against_teacher.high < 0


def test_predictions_of_some_seeds_give_no_interval(
    study: pd.DataFrame, predictions: dict[tuple[str, str], StagePrediction]
) -> None:
    del predictions["large-1", "plain"]
    first = winner(finished_rows(study), predictions).comparisons[0]
    assert "predictions of 2 of 3 seeds" in first.words
    assert "paired bootstrap" not in first.words


def test_single_seed_is_named(study: pd.DataFrame) -> None:
    found = winner(finished_rows(study[study["seed"] == 0]), {})
    assert "how it varies with the seed is not known" in found.comparisons[0].words
