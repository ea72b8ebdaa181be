"""Tables: means over seeds, the best student, and every format."""

import io

import pandas as pd
import pytest
from result_rows import ABLATION, FRAME, SIZES, frame_of, row

from kdh_ray.errors import DataError
from kdh_ray.results import normalise_rows, render
from kdh_ray.results.tables import (
    by_size,
    run_table,
    significance,
    stage_table,
)


def test_a_line_holds_mean_spread_and_count() -> None:
    line = stage_table(FRAME).set_index("stage").loc["distilled"]
    assert line["n"] == 3
    assert line["test_f1_micro"] == pytest.approx(0.82)
    assert line["test_f1_micro_sd"] == pytest.approx(0.02)  # the sample's: divided by n - 1


def test_lines_keep_the_order_of_stages() -> None:
    assert stage_table(FRAME)["stage"].tolist() == ["tfidf", "teacher", "plain", "distilled"]


def test_best_is_always_a_student() -> None:
    table = stage_table(FRAME)
    assert table.loc[table["best"], "stage"].tolist() == ["distilled"]


def test_protocols_are_never_ranked_together() -> None:
    about = {"protocol": "hoc-blue", "metric": "f1_blue"}
    other = pd.DataFrame([row("plain", 0.99, **about), row("teacher", 0.98, kind="teacher", **about)])
    table = stage_table(pd.concat([FRAME, other]))
    assert table[table["best"]][["protocol", "stage"]].to_numpy().tolist() == [
        ["hoc-blurb", "distilled"],
        ["hoc-blue", "plain"],
    ]
    assert table["official"].iloc[-2] == pytest.approx(1.0)


def test_more_seeds_win_a_tie() -> None:
    rows = [row("distilled", 0.7702, seed) for seed in range(3)]
    tables = [stage_table(frame_of(*rows, row("lucky", f1))) for f1 in (0.7704, 0.7706)]
    assert [table.loc[table["best"], "stage"].tolist() for table in tables] == [["distilled"], ["lucky"]]


def test_only_line_of_a_size_is_not_best() -> None:
    begun = pd.DataFrame([row("plain", 0.99, size="medium"), row("distilled", float("nan"), 1, size="medium")])
    table = stage_table(pd.concat([FRAME, begun]))
    assert table.loc[table["best"], "size"].tolist() == ["large"]


def test_failed_rows_are_counted_and_not_averaged() -> None:
    failed = pd.DataFrame([row("distilled", 0.1, 3, status="failed"), row("lost", float("nan"), status="failed")])
    table = stage_table(pd.concat([FRAME, failed])).set_index("stage")
    assert table.loc["distilled", ["n", "unfinished"]].tolist() == [3, 1]
    assert table.loc["distilled", "test_f1_micro"] == pytest.approx(0.82)
    assert table.loc["lost", ["n", "unfinished"]].tolist() == [0, 1]
    assert "unfinished" in render.to_plain(table.reset_index())


def test_seconds_are_named_after_the_stage_alone() -> None:
    """The time of a fine-tuned student does not contain its distillation, which has a line of its own."""
    assert "stage seconds" in render.to_plain(stage_table(FRAME)).splitlines()[1]
    assert "stage s" in render.to_text_table(stage_table(FRAME), narrow=True).header


def test_finished_row_without_score_is_not_counted() -> None:
    table = stage_table(pd.concat([FRAME, pd.DataFrame([row("distilled", float("nan"), 9)])]))
    assert table.set_index("stage").loc["distilled", ["n", "unfinished"]].tolist() == [3, 1]
    assert "82.0 ± 2.0 (3)" in render.to_plain(table)
    costs = normalise_rows(FRAME[["run_id", "stage", "status", "seconds"]])
    assert stage_table(costs)["n"].tolist() == [1, 1, 2, 3]  # no row has a score: they are looked at for their costs


def test_rows_without_kinds_compare_encoders() -> None:
    table = stage_table(FRAME.assign(kind=None))
    assert table.loc[table["best"], "stage"].tolist() == ["teacher"]


def test_rows_that_only_failed_still_make_a_table() -> None:
    frame = frame_of({"run_id": "a", "stage": "teacher", "status": "failed", "error": "no memory"})
    assert "–" in render.to_plain(stage_table(frame))
    assert "no memory" in render.to_plain(run_table(frame))


def test_an_empty_frame_is_an_error() -> None:
    with pytest.raises(DataError, match="no result rows"):
        stage_table(FRAME.iloc[:0])


def test_plain_text_shows_percentages_and_marks_the_best() -> None:
    text = render.to_plain(stage_table(FRAME))
    assert text.startswith("hoc-blurb, large, test scores in %, threshold tuned on validation")
    assert "82.0 ± 2.0 (3)" in text
    assert "distilled *" in text
    assert "84.0 ±" not in text  # one teacher has no spread
    assert "one run where no n stands" in text
    assert "22.7 M" in text


def test_markdown_sets_the_best_in_bold_and_escapes() -> None:
    frame = FRAME.assign(stage=FRAME["stage"].replace("distilled", "my_|student"))
    text = render.to_markdown(stage_table(frame))
    assert r"**my\_\|student**" in text
    assert "**82.0 ± 2.0 (3)**" in text
    lines = [line.replace(r"\|", "") for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1


def test_latex_uses_booktabs_and_escapes() -> None:
    text = render.to_latex(stage_table(FRAME.assign(stage=FRAME["stage"] + "_50%")))
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    assert r"\textbf{distilled\_50\%}" in text
    assert r"82.0 $\pm$ 2.0 (3)" in text


def test_names_can_not_be_tags_links_or_lines() -> None:
    table = stage_table(FRAME[FRAME["seed"] == 0].assign(stage=["<b>a", "[b](c) `d`", "$e$ ~f~", "g\nh"]))
    markdown, latex = render.to_markdown(table), render.to_latex(table)
    for name in (r"\<b>a", r"\[b\](c) \`d\`", r"\$e\$ \~f\~", "g h"):
        assert name in markdown
    assert r"\textless{}b\textgreater{}a" in latex
    assert "g h" in latex
    assert len(latex.splitlines()) == 6 + 4 + 1  # rules, begin and end, lines, caption and header
    assert "g h" in render.to_plain(table)


def test_numbers_survive_csv_and_parquet() -> None:
    table = stage_table(FRAME)
    from_csv = pd.read_csv(io.StringIO(render.to_csv(table)))
    from_parquet = pd.read_parquet(io.BytesIO(render.to_parquet(table)))
    assert from_csv["test_f1_micro"].tolist() == pytest.approx(table["test_f1_micro"].tolist())
    pd.testing.assert_frame_equal(from_parquet, table)


def test_terminal_table_takes_markup_in_names_literally() -> None:
    from rich.console import Console

    console = Console(width=140, record=True, file=io.StringIO())
    console.print(render.to_rich(stage_table(FRAME.assign(stage="[red]x"))))
    assert "[red]x" in console.export_text()


def test_other_official_metric_has_a_column() -> None:
    assert "F1 (BLUE)" not in render.to_plain(stage_table(FRAME))
    assert "F1 (BLUE)" in render.to_plain(stage_table(FRAME.assign(metric="f1_blue")))


def test_sizes_stand_side_by_side_small_first() -> None:
    table = by_size(SIZES)
    assert table.columns.tolist() == ["protocol", "method", "small", "large"]
    line = table.set_index("method").loc["distilled"]
    assert (line["small"], line["large"]) == ("72.0 ± 2.0 (3)", "82.0 ± 2.0 (3)")


def test_unknown_and_missing_sizes_have_columns() -> None:
    table = by_size(
        pd.concat([SIZES, pd.DataFrame([row("distilled", 0.5, size=None), row("plain", 0.4, size="tiny")])])
    )
    assert table.columns.tolist() == ["protocol", "method", "small", "large", "tiny", "no size named"]
    assert table.set_index("method").loc["distilled", "no size named"] == "50.0"


def test_best_cell_of_each_size_is_bold() -> None:
    table = by_size(SIZES)
    assert "| **72.0 ± 2.0 (3)** | **82.0 ± 2.0 (3)** |" in render.to_markdown(table)
    assert r"\textbf{72.0 $\pm$ 2.0 (3)}" in render.to_latex(table)
    assert "82.0 ± 2.0 (3) *" in render.to_plain(table)
    assert render.to_plain(table).startswith("hoc-blurb, test micro F1 in %, mean ± standard deviation over seeds (n)")


def test_two_experiments_are_not_mixed_in_one_cell() -> None:
    other = FRAME.assign(experiment="again")
    with pytest.raises(DataError, match="several lines of one size on hoc-blurb"):
        by_size(pd.concat([FRAME.assign(experiment="first"), other]))


def test_repeated_run_counts_once_in_every_table() -> None:
    """The last run of a seed counts; rows that failed or are trials replace nothing."""
    pytest.importorskip("statsmodels", reason="extra 'statistics' is not installed")
    later = [row("plain", 0.60, 1), row("plain", 0.1, 0, status="failed"), row("plain", 0.9, 0, "trial")]
    frame = pd.concat([FRAME, pd.DataFrame(later)])
    said = "plain at size large was run again with seed 1: the last run counts, not the 1 before"
    line = stage_table(frame).set_index("stage").loc["plain"]
    assert line[["n", "unfinished"]].tolist() == [2, 1]
    assert line["official"] == pytest.approx((0.78 + 0.60) / 2)
    assert by_size(frame).set_index("method").loc["plain", "large"] == "69.0 ± 12.7 (2)"
    compared = significance(frame, "distilled").set_index("method").loc["plain"]
    assert (compared["n"], compared["difference"]) == (2, pytest.approx((0.78 - 0.80 + 0.60 - 0.82) / 2))
    for table in (stage_table(frame), by_size(frame), significance(frame, "distilled")):
        assert said in render.to_plain(table)
    assert "run again" not in render.to_plain(stage_table(FRAME))


def test_lines_are_ordered_by_pair_and_size() -> None:
    rows = [
        row("student", 0.8, seed, method="distilled", pair=pair, size=size)
        for seed in (0, 1)
        for size in ("large", "small", "medium")
        for pair in ("a-b", "b-c")
    ]
    table = stage_table(frame_of(*rows))
    assert table["size"].tolist() == ["small", "medium", "large"] * 2
    assert table["stage"].tolist() == ["distilled, a-b"] * 3 + ["distilled, b-c"] * 3


def test_study_methods_keep_their_names() -> None:
    table = stage_table(ABLATION)
    assert table["stage"].tolist() == ["softmax-loss", "full", "teacher"]
    assert table.set_index("stage").loc["full", "n"] == 3  # without the step on its way


def test_pairs_of_encoders_have_separate_lines() -> None:
    pairs = pd.concat([ABLATION.assign(pair="a-b"), ABLATION.assign(pair="b-c")])
    assert by_size(pairs)["method"].tolist()[:2] == ["softmax-loss, a-b", "full, a-b"]


def test_rows_without_pair_join_no_pair() -> None:
    mixed = pd.concat([ABLATION.assign(pair="a-b"), ABLATION.assign(pair=None)])
    assert set(by_size(mixed)["method"]) >= {"full, a-b", "full"}
    assert stage_table(mixed).set_index("stage").loc["full, a-b", "n"] == 3


def test_trials_are_not_methods() -> None:
    table = stage_table(pd.concat([FRAME, pd.DataFrame([row("trial", 0.99, kind="trial")])]))
    assert "trial" not in set(table["stage"])
    with pytest.raises(DataError, match="trials of searches"):
        stage_table(frame_of(row("trial", 0.99, kind="trial")))


def test_scores_of_two_readings_are_told_apart() -> None:
    old = FRAME[FRAME["protocol"] == "hoc-blurb"]
    assert "raw text" not in stage_table(normalise_rows(old)).attrs["note"]
    new = old.assign(read_as="raw text", run_id=old["run_id"] + "-new", experiment="new")
    both = normalise_rows(pd.concat([old, new], ignore_index=True))
    assert "don't compare" in stage_table(both).attrs["note"]
    assert "don't compare" not in stage_table(normalise_rows(new)).attrs["note"]
