"""Figures of rows with known answers: their data, their text, and whether they are well-formed."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest

from kdh_ray.errors import DataError
from kdh_ray.report import figures
from kdh_ray.report.figures import drawing
from kdh_ray.report.figures.convergence import progress
from kdh_ray.report.figures.reliability import reliability
from kdh_ray.report.figures.score_against_cost import not_dominated
from kdh_ray.report.figures.searched_settings import importances
from kdh_ray.results.method_rows import finished_rows, largest_size
from kdh_ray.results.saved_predictions import StagePrediction
from kdh_ray.results.search_trials import trial_rows


@pytest.mark.parametrize("maker", figures.SCORE_FIGURES, ids=lambda maker: maker.name)
def test_figures_of_scores_are_whole(study: pd.DataFrame, maker: figures.Maker) -> None:
    check_whole(maker(study))


@pytest.mark.parametrize(
    "maker",
    [each for each in figures.SEARCH_FIGURES if each not in (figures.pareto, figures.front, figures.overtuning)],
    ids=lambda maker: maker.name,
)
def test_figures_of_searches_are_whole(search: pd.DataFrame, maker: figures.Maker) -> None:
    check_whole(maker(search))


def check_whole(figure: figures.Figure) -> None:
    """Check that a figure is well-formed, has a text and data, and only colours that a dark page can change."""
    themed = figure.svg(themed=True)
    root = ElementTree.fromstring(themed)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("aria-label") == figure.text
    assert root.get("role") == "img"
    assert root.get("width") is None
    for light, _ in drawing.COLOURS.values():
        assert light not in themed.replace(f", {light})", "")
    ids = [node.get("id", "") for node in root.iter() if node.get("id")]
    assert len(ids) == len(set(ids))
    assert all(name.startswith(figure.name) for name in ids)
    assert len(figure.data)
    assert smallest_text(themed) * PHONE >= 11 * float(root.get("viewBox", "").split()[2])
    assert figure.title
    assert len(figure.text) > 40


PHONE = 390 - 2 * 16  # pixels that a page has within its margins


def smallest_text(svg: str) -> float:
    """Return the smallest font size, in units of the drawing."""
    return min(float(size) for size in re.findall(r"font-size: ([0-9.]+)px", svg))


def test_files_for_a_paper_keep_their_colours(study: pd.DataFrame) -> None:
    figure = figures.by_method(study)
    root = ElementTree.fromstring(figure.svg())
    assert root.get("width") == "259.2pt"
    assert "var(" not in figure.svg()
    assert figures.by_method(study).svg() == figures.by_method(study).svg()  # no date, no random ids
    assert figure.png().startswith(b"\x89PNG")


def test_methods_are_ranked_at_largest_size(study: pd.DataFrame) -> None:
    figure = figures.by_method(study)
    assert figure.data["method"].tolist() == ["teacher", "distilled", "plain", "tf-idf"]
    line = figure.data.iloc[1]
    assert (line["n"], line["mean"], line["sd"]) == (3, pytest.approx(77.0), pytest.approx(1.0))
    assert "teacher with 81.0 ± 1.0 % over 3 seeds" in figure.text


def test_size_with_one_method_is_skipped(study: pd.DataFrame) -> None:
    rows = finished_rows(study)
    begun = rows[(rows["stage"] == "plain") & (rows["size"] == "large")]
    assert largest_size(pd.concat([rows[rows["size"] == "small"], begun]))["size"].unique().tolist() == ["small"]
    assert largest_size(begun)["size"].unique().tolist() == ["large"]


def test_failed_rows_trials_and_steps_are_not_drawn(study: pd.DataFrame, search: pd.DataFrame) -> None:
    study.loc[study["stage"] == "teacher", "status"] = "failed"
    study.loc[study["stage"] == "plain", "kind"] = "step"
    figure = figures.by_method(pd.concat([study, search]))
    assert figure.data["method"].tolist() == ["distilled", "tf-idf"]


def test_methods_of_two_experiments_stay_separate(study: pd.DataFrame) -> None:
    figure = figures.by_method(pd.concat([study, study.assign(experiment="again")]))
    assert len(figure.data) == 8
    assert "distilled, again" in figure.data["method"].tolist()


def test_one_size_is_no_figure_of_sizes(study: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=r"only one size .*\(large\)"):
        figures.by_size(study[study["size"] == "large"])


def test_sizes_grow_along_the_line(study: pd.DataFrame) -> None:
    data = figures.by_size(study).data
    line = data[data["method"] == "distilled"]
    assert line["size"].tolist() == ["small", "medium", "large"]
    assert line["mean"].tolist() == pytest.approx([67.0, 72.0, 77.0])


def test_unreached_sizes_hide_no_method(study: pd.DataFrame) -> None:
    """In an unfinished study, the method that is ahead in sizes need not be the best at any size."""
    begun = study[(study["size"] == "small") | ((study["size"] == "medium") & (study["stage"] == "plain"))]
    figure = figures.by_size(begun)
    assert set(figure.data.loc[figure.data["size"] == "small", "method"]) == {"teacher", "distilled", "plain", "tf-idf"}
    assert "At small, teacher is highest with 71.0 %." in figure.text
    assert "At medium there is only plain, 66.0 %." in figure.text


def test_a_run_that_was_repeated_counts_once(study: pd.DataFrame) -> None:
    again = study[study["stage"] == "plain"].assign(run_id="again", test_f1_micro=0.5)
    rows = finished_rows(pd.concat([study, again], ignore_index=True))
    assert len(rows) == len(study)
    assert rows.loc[rows["stage"] == "plain", "run_id"].unique().tolist() == ["again"]
    unknown = study.assign(seed=None)
    assert len(finished_rows(unknown)) == len(study)


def test_heat_map_has_a_line_a_label(study: pd.DataFrame) -> None:
    data = figures.labels(study).data.set_index("label")
    assert data.index.tolist() == ["pain", "fever & <chills>", "a_cough $x$"]  # best first; dollars are no formula
    assert data.loc["a_cough $x$", "distilled"] == pytest.approx(57.0)


def test_cost_marks_undominated_methods(study: pd.DataFrame) -> None:
    data = figures.cost(study).data.set_index("method")
    assert data["best"].to_dict() == {"teacher": True, "distilled": True, "plain": False}


def many(study: pd.DataFrame, n: int) -> pd.DataFrame:
    """Return ``n`` methods at the largest size, each a point worse than the last; the last but one is the smallest."""
    part = study[(study["stage"] == "distilled") & (study["size"] == "large")]
    sizes = [1e6 if place == n - 2 else 9e6 for place in range(n)]
    parts = [
        part.assign(stage=f"method {place}", test_f1_micro=0.9 - 0.01 * place, parameters=size)
        for place, size in enumerate(sizes)
    ]
    return pd.concat(parts, ignore_index=True)


def test_crowded_cost_figure_names_the_front(study: pd.DataFrame) -> None:
    figure = figures.cost(many(study, 30))
    assert len(figure.data) == 30
    assert figure.data.loc[figure.data["best"], "method"].tolist() == ["method 0", "method 28"]
    (key,) = figure.drawing.legends
    assert [text.get_text() for text in key.get_texts()] == ["method 0", "method 28", "28 others"]
    assert figure.text.endswith("The 28 others are grey; the data names them.")
    check_whole(figure)
    few = figures.cost(many(study, 10))
    assert len(few.drawing.legends[0].get_texts()) == 10
    assert "others" not in few.text


def test_hidden_methods_are_counted(study: pd.DataFrame) -> None:
    rows = many(study, 21)
    figure = figures.by_method(rows)
    assert len(figure.data) == 21
    assert "1 method with lower scores is not drawn" in figure.text
    assert figures.labels(rows).text.endswith("13 methods with lower scores are not shown.")
    truth = np.array([[1, 0], [0, 1]], dtype=np.int8)
    predicted = [StagePrediction(str(n), "student", f"m{n}", truth, np.full((2, 2), 0.5), 0.5) for n in range(7)]
    assert figures.calibration(predicted).text.endswith("The 5 best of 7 methods are drawn.")


@pytest.mark.parametrize("maker", figures.SCORE_FIGURES, ids=lambda maker: maker.name)
def test_long_names_stay_within_the_figure(study: pd.DataFrame, maker: figures.Maker) -> None:
    ends = {name: f"{name} {'and so on ' * 15} {name}" for name in study["stage"].unique()}
    figure = maker(study.assign(stage=study["stage"].map(ends)))
    figure.png()
    for key in figure.drawing.legends:
        box = key.get_window_extent()
        assert figure.drawing.bbox.x0 <= box.x0
        assert box.x1 <= figure.drawing.bbox.x1
        shown = [text.get_text() for text in key.get_texts()]
        assert len(set(shown)) == len(shown)
    (axes,) = figure.drawing.axes
    assert axes.get_window_extent().width > 0.4 * figure.drawing.bbox.width


def test_missing_glyphs_are_left_to_readers(study: pd.DataFrame, recwarn: pytest.WarningsRecorder) -> None:
    assert "病历" in figures.by_method(study.assign(stage=study["stage"] + " 病历")).svg()
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


def test_nearly_equal_models_cost_the_same(study: pd.DataFrame) -> None:
    study["parameters"] = study["stage"].map({"teacher": 22.7e6, "plain": 22.702e6, "distilled": 22.7e6})
    with pytest.raises(DataError, match="fewer than two models of different size"):
        figures.cost(study)


def test_measured_latency_replaces_size(study: pd.DataFrame) -> None:
    study["latency_p50_ms"] = study["stage"].map({"teacher": 90.0, "plain": 12.0, "distilled": 12.0})
    assert figures.cost(study).data.columns[2] == "median latency of a document, in ms"


def test_not_dominated_keeps_equals() -> None:
    assert not_dominated(pd.Series([1, 1, 2, 3]), pd.Series([2, 2, 1, 3])) == [True, True, True, False]


def test_ranks_over_nested_sizes_are_refused(study: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="samples of one corpus"):
        figures.ranks(study)


def test_ranks_over_independent_corpora_are_drawn(study: pd.DataFrame) -> None:
    pytest.importorskip("scikit_posthocs", reason="extra 'report' is not installed")
    corpora = pd.concat([study.assign(protocol=f"corpus-{number}") for number in range(5)])
    figure = figures.ranks(corpora)
    assert figure.data["method"].tolist() == ["teacher", "distilled", "plain", "tf-idf"]
    assert figure.data["mean rank"].tolist() == [1, 2, 3, 4]
    check_whole(figure)


def test_ranks_say_whom_they_leave_out(study: pd.DataFrame) -> None:
    pytest.importorskip("scikit_posthocs", reason="extra 'report' is not installed")
    corpora = pd.concat([study.assign(protocol=f"corpus-{number}") for number in range(3)])
    corpora = corpora[(corpora["stage"] != "tf-idf") | (corpora["protocol"] == "corpus-0")]
    figure = figures.ranks(corpora)
    assert figure.data["method"].tolist() == ["teacher", "distilled", "plain"]
    assert figure.text.endswith("Left out, since some corpora have no result of them: tf-idf.")


def test_best_so_far_never_falls(search: pd.DataFrame) -> None:
    line = progress(trial_rows(search))
    assert line["best"].is_monotonic_increasing
    assert line["trials"].max() == 24
    assert line["best"].iloc[-1] == pytest.approx(100 * search["validation_f1_micro"].max())
    assert line["minutes"].iloc[-1] == pytest.approx(search["seconds"].sum() / 60)


@pytest.mark.parametrize("maker", [figures.convergence, figures.parallel_coordinates, figures.swarm])
def test_the_least_log_loss_is_the_best(search: pd.DataFrame, maker: figures.Maker) -> None:
    losses = search.assign(objective="log_loss", score=1.0 - search["validation_f1_micro"])
    figure = maker(losses)
    least = f"{losses['score'].min():.3f}"
    assert least in figure.text
    assert "%" not in figure.text
    if "best" in figure.data:
        assert figure.data["best"].is_monotonic_decreasing


def test_two_searchers_have_lines_of_their_own(search: pd.DataFrame) -> None:
    other = search.assign(searcher="random", run_id=search["run_id"].str.replace("look", "other"))
    figure = figures.convergence(pd.concat([search, other]))
    assert figure.data.groupby("searcher")["search"].unique().map(list).to_dict() == {
        "pso": ["look-0-ab12"],
        "random": ["other-0-ab12"],
    }


def test_searches_at_several_sizes_are_not_averaged_together(search: pd.DataFrame) -> None:
    """Scores of different sizes do not compare; those of one size have a mean, and their range in the text."""
    other = search.assign(run_id=search["run_id"].str.replace("look", "other"))
    small = search.assign(run_id=search["run_id"].str.replace("look", "small"), size="small")
    other["validation_f1_micro"] -= 0.1
    figure = figures.convergence(pd.concat([search, other, small]))
    assert figure.data.groupby("name")["search"].nunique().to_dict() == {"pso, large": 2, "pso, small": 1}
    top = 100 * search["validation_f1_micro"].max()
    assert f"pso, large {top - 5:.1f} % (mean of 2 searches, {top - 10:.1f} to {top:.1f})" in figure.text


def test_regret_has_a_panel_a_table() -> None:
    rows = [
        {"pair": table, "method": name, "seed": seed, "regret_at_5": 0.4, "regret_at_10": 0.1 * seed}
        for table in ("a", "b") for name in ("pso", "random") for seed in (0, 1, 2)
    ]  # fmt: skip
    figure = figures.regret(pd.DataFrame(rows))
    assert len(figure.drawing.axes) == 2
    assert figure.data.groupby(["table", "searcher"])["trials"].apply(list).tolist() == [[5, 10]] * 4
    check_whole(figure)


def test_decisive_setting_is_most_important(search: pd.DataFrame) -> None:
    shares = importances(trial_rows(search))
    assert shares.index[0] == "config_learning_rate"
    assert shares.iloc[0] > 0.5
    assert shares.sum() == pytest.approx(1.0)
    assert "config_epochs" not in shares  # the same in all trials


def test_importances_of_several_searches_leave_their_levels_aside(search: pd.DataFrame) -> None:
    other = search.assign(
        run_id=search["run_id"].astype(str).str.replace("-trial-", "-other-trial-"),
        validation_f1_micro=search["validation_f1_micro"] - 0.3,
        config_dropout=search["config_dropout"] + 0.5,  # differs with the level, and explains nothing else
    )
    both = pd.concat([search, other], ignore_index=True)
    assert trial_rows(both)["search"].nunique() == 2
    shares = importances(trial_rows(both))
    assert shares.index[0] == "config_learning_rate"
    assert shares.iloc[0] > 0.5
    assert f"{both['validation_f1_micro'].count()} trials of 2 searches" in figures.importance(both).text


def test_few_trials_give_no_importance(search: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="at least 10 trials"):
        figures.importance(search.head(8))


def test_ablation_figure_is_paired_by_seed(ablations: pd.DataFrame) -> None:
    figure = figures.ablation(ablations)
    table = figure.data.set_index("method")
    assert table.index.tolist() == ["without-distillation", "alpha-1"]
    assert table["difference"].tolist() == pytest.approx([-5.0, 1.0])
    assert table["n"].tolist() == [3, 2]
    assert table["changed"].tolist() == ["distillation", "alpha"]
    assert "without-distillation, alpha-1 exclude zero" in figure.text
    check_whole(figure)


def test_ablation_names_clear_changes(ablations: pd.DataFrame) -> None:
    ablations.loc[ablations["method"] == "alpha-1", "test_f1_micro"] += [0.0, 0.05]
    figure = figures.ablation(pd.concat([ablations, ablations.assign(experiment="other", method="distilled")]))
    assert figure.data["method"].tolist() == ["without-distillation", "alpha-1"]  # other experiments are no ablation
    line = figure.data.set_index("method").loc["alpha-1"]
    assert (line["low"], line["high"]) == (pytest.approx(-28.27, abs=0.01), pytest.approx(35.27, abs=0.01))
    assert "without-distillation excludes zero" in figure.text


def test_ablation_needs_the_full_method(study: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="the reference 'full'"):
        figures.ablation(study.assign(method=study["stage"]))


def test_front_of_a_search_rises_with_cost(search: pd.DataFrame) -> None:
    search["parameters"] = 1e6 * (1 + search["trial"] % 4)
    figure = figures.pareto(search)
    front = figure.data[figure.data["best"]]
    assert front["score in %"].is_monotonic_increasing
    assert len(front) <= 4
    assert set(figure.data["trial"]) == set(search.loc[search["status"] == "ok", "trial"])
    check_whole(figure)


def test_trials_alike_in_size_have_no_front(search: pd.DataFrame) -> None:
    for alike in (search, search.assign(parameters=1e6, latency_ms=10 + search["trial"] / 100)):
        with pytest.raises(DataError, match="all alike in size"):
            figures.pareto(alike)


def test_swarm_needs_particles(search: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="not a swarm"):
        figures.swarm(search.assign(particle=None))


def test_swarm_uses_two_most_important_numbers(search: pd.DataFrame) -> None:
    data = figures.swarm(search).data
    assert data.columns[3] == "learning_rate"
    assert data.groupby("particle").size().sum() == 23  # one trial failed without a score


def test_time_line_has_every_trial_on_its_worker(search: pd.DataFrame) -> None:
    figure = figures.workers(search)
    assert figure.data.groupby("worker").size().tolist() == [12, 12]
    assert "2 workers ran 24 trials" in figure.text
    assert "8 stopped early, 1 failed" in figure.text


def test_reliability_counts_pairs_by_bin() -> None:
    table = reliability(np.array([0, 1, 1, 1]), np.array([0.05, 0.04, 0.91, 1.0]))
    assert table["observed"].tolist() == [0.5, 1.0]
    assert table["pairs"].tolist() == [2, 2]


def test_calibration_pools_the_seeds_of_a_method() -> None:
    truth = np.array([[1, 0], [0, 1]], dtype=np.int8)
    predicted = [StagePrediction(str(n), "student", "student", truth, np.full((2, 2), 0.5), 0.5) for n in range(2)]
    figure = figures.calibration(predicted)
    assert figure.data[["observed", "pairs"]].to_numpy().tolist() == [[0.5, 8]]
    assert "student 0.000" in figure.text
    check_whole(figure)


def test_frames_without_material_say_why(study: pd.DataFrame) -> None:
    made, left = figures.attempt(figures.SEARCH_FIGURES, study)
    assert made == []
    assert len(left) == len(figures.SEARCH_FIGURES)
    assert {each.reason for each in left} == {"there are no trials of a search among the rows"}


def test_overtuning_shows_what_luck_adds(search: pd.DataFrame) -> None:
    best = {"stage": "student", "kind": "student", "search_overtuning": "[[0.7, 0.69], [0.78, 0.72]]"}
    figure = figures.overtuning(pd.concat([search, pd.DataFrame([best])], ignore_index=True))
    check_whole(figure)
    assert "has validation micro F1 78.0 % on the documents that chose it, and 72.0 % on average" in figure.text
    assert figure.data["corrected"].tolist() == pytest.approx([69, 72])
    with pytest.raises(DataError, match="no search has the validation predictions of all its finished trials"):
        figures.overtuning(search)


def test_scores_of_some_folds_do_not_rank(search: pd.DataFrame) -> None:
    whole = search["trial"] <= 8
    folded = search.assign(**{"config_data.folds": 3, "folds_run": whole.map({True: 3, False: 1})})
    assert trial_rows(folded).set_index("trial")["merit"].dropna().index.max() <= 8
    none_finished = folded.assign(folds_run=1)
    assert trial_rows(none_finished)["merit"].notna().sum() == search["validation_f1_micro"].notna().sum()
    for maker in (
        figures.convergence,
        figures.importance,
        figures.parallel_coordinates,
        figures.swarm,
        figures.workers,
    ):
        check_whole(maker(folded))
