"""Tables: means over seeds, the best student, and every format."""

import io
from typing import Any

import pandas as pd
import pytest

from kdh_ray.errors import DataError
from kdh_ray.results import render
from kdh_ray.results.tables import (
    ablation,
    by_size,
    efficiency,
    pareto,
    regrets,
    run_table,
    searchers,
    significance,
    stage_table,
)


def row(stage: str, f1: float, seed: int = 0, kind: str | None = "student", **more: Any) -> dict[str, Any]:
    return {
        "run_id": f"run-{seed}",
        "stage": stage,
        "kind": kind,
        "protocol": "hoc-blurb",
        "size": "large",
        "seed": seed,
        "status": "ok",
        "error": None,
        "metric": "f1_micro",
        "test_f1_micro": f1,
        "test_f1_blue": f1 + 0.01,
        "parameters": None if kind == "baseline" else 22_700_000,
        "seconds": 100.0,
        **more,
    }


FRAME = pd.DataFrame(
    [row("tfidf", 0.9, 0, "baseline"), row("teacher", 0.84, 0, "teacher")]
    + [row("plain", f1, seed) for seed, f1 in enumerate((0.78, 0.80))]
    + [row("distilled", f1, seed) for seed, f1 in enumerate((0.80, 0.82, 0.84))]
)


def test_a_line_holds_mean_spread_and_count() -> None:
    line = stage_table(FRAME).set_index("stage").loc["distilled"]
    assert line["n"] == 3
    assert line["test_f1_micro"] == pytest.approx(0.82)
    assert line["test_f1_micro_sd"] == pytest.approx(0.02)  # the sample's: divided by n - 1


def test_lines_keep_the_order_of_stages() -> None:
    assert stage_table(FRAME)["stage"].tolist() == ["tfidf", "teacher", "plain", "distilled"]


def test_best_is_a_student_never_a_teacher_or_baseline() -> None:
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


def test_a_line_alone_in_its_size_is_not_called_the_best() -> None:
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
    """A student fine-tuned on labels took its distillation as well, which is a line of its own."""
    assert "stage seconds" in render.to_plain(stage_table(FRAME)).splitlines()[1]
    assert "stage s" in render.to_text_table(stage_table(FRAME), narrow=True).header


def test_a_finished_row_without_a_score_is_in_no_mean_and_no_count() -> None:
    table = stage_table(pd.concat([FRAME, pd.DataFrame([row("distilled", float("nan"), 9)])]))
    assert table.set_index("stage").loc["distilled", ["n", "unfinished"]].tolist() == [3, 1]
    assert "82.0 ± 2.0 (3)" in render.to_plain(table)
    costs = FRAME[["run_id", "stage", "status", "seconds"]]
    assert stage_table(costs)["n"].tolist() == [1, 1, 2, 3]  # no row has a score: they are looked at for their costs


def test_rows_without_kinds_compare_encoders() -> None:
    table = stage_table(FRAME.assign(kind=None))
    assert table.loc[table["best"], "stage"].tolist() == ["teacher"]


def test_rows_that_only_failed_still_make_a_table() -> None:
    frame = pd.DataFrame([{"run_id": "a", "stage": "teacher", "status": "failed", "error": "no memory"}])
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


def test_official_metric_has_a_column_where_it_is_another() -> None:
    assert "F1 (BLUE)" not in render.to_plain(stage_table(FRAME))
    assert "F1 (BLUE)" in render.to_plain(stage_table(FRAME.assign(metric="f1_blue")))


SIZES = pd.concat([FRAME.assign(size="large"), FRAME.assign(size="small", test_f1_micro=FRAME["test_f1_micro"] - 0.1)])


def test_sizes_stand_side_by_side_small_first() -> None:
    table = by_size(SIZES)
    assert table.columns.tolist() == ["protocol", "method", "small", "large"]
    line = table.set_index("method").loc["distilled"]
    assert (line["small"], line["large"]) == ("72.0 ± 2.0 (3)", "82.0 ± 2.0 (3)")


def test_rows_of_other_sizes_or_of_none_have_columns_too() -> None:
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


def test_significance_is_paired_by_seed_within_a_size() -> None:
    pytest.importorskip("statsmodels", reason="extra 'statistics' is not installed")
    table = significance(SIZES[SIZES["kind"] == "student"], "plain")
    assert table["size"].tolist() == ["small", "large"]
    line = table.iloc[1]
    assert (line["method"], line["n"]) == ("distilled", 2)
    assert line["difference"] == pytest.approx((0.80 - 0.78 + 0.82 - 0.80) / 2)
    assert line["p"] == 0.5
    assert "2 seeds can't give p below 0.5" in line["note"]
    assert [line["low"], line["high"]] == pytest.approx([line["difference"]] * 2)  # both seeds differ alike
    assert render.to_plain(table).startswith("hoc-blurb, difference: mean of test micro F1 less the reference's")


def test_what_can_not_be_paired_is_said() -> None:
    pytest.importorskip("statsmodels", reason="extra 'statistics' is not installed")
    students = SIZES[SIZES["kind"] == "student"]
    with pytest.raises(DataError, match="a seed that both have"):
        significance(students.drop(columns="seed"), "plain")
    assert set(significance(students.assign(seed=students["seed"].map("s{}".format)), "plain")["n"]) == {2}
    shifted = students.assign(
        seed=students["seed"] + 7 * ((students["size"] == "small") & (students["stage"] == "plain"))
    )
    table = significance(shifted, "plain")
    assert table["size"].tolist() == ["large"]
    assert table.attrs["note"] == "nothing shares a seed with 'plain' on hoc-blurb small"


def test_no_pair_is_left_out_in_silence() -> None:
    pytest.importorskip("statsmodels", reason="extra 'statistics' is not installed")
    students = FRAME[FRAME["kind"] == "student"]
    one, two = (students.assign(pair=pair, method=students["stage"]) for pair in ("a-b", "b-c"))
    alone = students.assign(run_id="alone-" + students["run_id"])
    table = significance(pd.concat([one, two, alone]), "plain")
    assert table["pair"].fillna("").tolist() == ["a-b", "b-c", ""]
    table = significance(pd.concat([one, two[two["stage"] != "plain"]]), "plain")
    assert table["pair"].tolist() == ["a-b"]
    assert "no 'plain' to compare with among b-c" in render.to_markdown(table)
    with pytest.raises(DataError, match=r"'plain' has more than one row of seed 0: choose one experiment"):
        significance(pd.concat([one, two, two.assign(experiment="again")]), "plain")


def test_a_method_without_a_common_seed_is_a_line_of_its_own() -> None:
    pytest.importorskip("statsmodels", reason="extra 'statistics' is not installed")
    students = FRAME[FRAME["kind"] == "student"]
    lonely = pd.DataFrame([row("late", 0.9, 9)])
    table = significance(pd.concat([students, lonely]), "plain").set_index("method")
    assert table.loc["late", ["n", "note"]].tolist() == [0, "no seed in common"]
    assert table.loc["distilled", "n"] == 2


def test_variants_are_methods_of_their_own() -> None:
    pytest.importorskip("statsmodels", reason="extra 'statistics' is not installed")
    varied = pd.concat([FRAME, FRAME[FRAME["stage"] == "distilled"].assign(variant="no-soft")])
    students = varied[varied["kind"] == "student"]
    assert significance(students, "distilled")["method"].tolist() == ["distilled (no-soft)", "plain"]


def test_significance_refuses_unknown_references_and_two_experiments() -> None:
    pytest.importorskip("statsmodels", reason="extra 'statistics' is not installed")
    students = FRAME[FRAME["kind"] == "student"]
    with pytest.raises(DataError, match="has 'nobody'"):
        significance(students, "nobody")
    with pytest.raises(DataError, match="'plain' has more than one row of seed 0"):
        significance(pd.concat([students, students.assign(experiment="again")]), "plain")


def test_a_run_that_was_repeated_counts_once_in_every_table() -> None:
    """The last one of a seed; that it failed or ran as a trial changes nothing."""
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


def test_lines_go_by_protocol_pair_and_size_whatever_ran_first() -> None:
    rows = [
        row("student", 0.8, seed, method="distilled", pair=pair, size=size)
        for seed in (0, 1)
        for size in ("large", "small", "medium")
        for pair in ("a-b", "b-c")
    ]
    table = stage_table(pd.DataFrame(rows))
    assert table["size"].tolist() == ["small", "medium", "large"] * 2
    assert table["stage"].tolist() == ["distilled, a-b"] * 3 + ["distilled, b-c"] * 3


def study_row(method: str, f1: float, seed: int, variant: str | None = None, **more: Any) -> dict[str, Any]:
    return row("finetuned", f1, seed, method=method, variant=variant, test_f1_micro_at_half=f1 - 0.05, **more)


ABLATION = pd.DataFrame(
    [study_row("softmax-loss", f1, seed, "soft loss") for seed, f1 in enumerate((0.78, 0.80, 0.82))]
    + [study_row("full", f1, seed, "reference") for seed, f1 in enumerate((0.80, 0.81, 0.82))]
    + [study_row("full", 0.1, 0, "reference", kind="step"), study_row("teacher", 0.9, 0, kind="teacher")]
)


def test_an_ablation_compares_with_the_full_method_seed_by_seed() -> None:
    table = ablation(ABLATION)
    assert table["method"].tolist() == ["full", "softmax-loss", "threshold-0.5"]
    assert table["changed"].tolist() == ["reference", "soft loss", "thresholds"]
    assert table["score"].tolist() == ["81.0 ± 1.0 (3)", "80.0 ± 2.0 (3)", "76.0 ± 1.0 (3)"]
    assert table["difference"].tolist() == ["–", "-1.0", "-5.0"]
    assert table["95 %"].tolist() == ["–", "-3.5 to +1.5", "-5.0 to -5.0"]  # 4.303 * 1.0 / sqrt(3)
    assert "**81.0 ± 1.0 (3)**" in render.to_markdown(table)
    assert render.to_plain(table).startswith("hoc-blurb, large, test micro F1 in %")  # once, not in every line
    sizes = ablation(pd.concat([ABLATION, ABLATION.assign(size="small")]))
    assert sizes["size"].tolist() == ["small"] * 3 + ["large"] * 3


def test_an_ablation_without_its_reference_is_refused() -> None:
    with pytest.raises(DataError, match="the reference 'everything'"):
        ablation(ABLATION, "everything")
    with pytest.raises(DataError, match="no study's rows"):
        ablation(FRAME)


def test_methods_of_a_study_go_by_their_own_names() -> None:
    table = stage_table(ABLATION)
    assert table["stage"].tolist() == ["softmax-loss", "full", "teacher"]
    assert table.set_index("stage").loc["full", "n"] == 3  # without the step on its way


def test_pairs_of_encoders_are_told_apart() -> None:
    pairs = pd.concat([ABLATION.assign(pair="a-b"), ABLATION.assign(pair="b-c")])
    assert by_size(pairs)["method"].tolist()[:2] == ["softmax-loss, a-b", "full, a-b"]


def test_rows_from_before_pairs_were_told_are_not_those_of_a_pair() -> None:
    mixed = pd.concat([ABLATION.assign(pair="a-b"), ABLATION.assign(pair=None)])
    assert set(by_size(mixed)["method"]) >= {"full, a-b", "full"}
    assert stage_table(mixed).set_index("stage").loc["full, a-b", "n"] == 3


def test_trials_are_no_methods() -> None:
    table = stage_table(pd.concat([FRAME, pd.DataFrame([row("trial", 0.99, kind="trial")])]))
    assert "trial" not in set(table["stage"])
    with pytest.raises(DataError, match="trials of searches"):
        stage_table(pd.DataFrame([row("trial", 0.99, kind="trial")]))


def test_efficiency_has_a_line_a_model_and_number_format() -> None:
    rows = [
        row("student", 0.8, model="distilled", method=f"distilled-{name}", number_format=name, latency_p50_ms=latency,
            latency_p95_ms=2 * latency, inference_documents_per_second=1000 / latency, flops_per_document=2e9)
        for name, latency in (("float32", 20.0), ("int8", 8.0))
    ]  # fmt: skip
    table = efficiency(pd.DataFrame(rows))
    assert table["format"].tolist() == ["float32", "int8"]
    assert table["n"].tolist() == [1, 1]
    assert table["p50 ms"].tolist() == [20.0, 8.0]
    assert table["FLOPs/document G"].tolist() == [2.0, 2.0]
    assert "energy/document J" not in table  # was not measured
    assert "| **8** | **16** | **125** |" in render.to_markdown(table)
    with pytest.raises(DataError, match=r"experiments\.efficiency"):
        efficiency(FRAME)


def measured(latency: float, seed: int = 0, **more: Any) -> dict[str, Any]:
    about = {"model": "distilled", "method": "distilled-int8", "number_format": "int8", "latency_p50_ms": latency}
    return row("student", 0.8, seed, **about, **more)


def test_efficiency_of_several_seeds_has_its_spread_and_number() -> None:
    table = efficiency(pd.DataFrame([measured(10.0), measured(12.0, 1), row("plain", 0.7, 0), row("plain", 0.6, 0)]))
    assert "| distilled | int8 | 2 | **22.7** | **11 ± 1.4** | **80** |" in render.to_markdown(table)
    assert "mean ± standard deviation over n seeds" in render.to_plain(table)
    assert table["p50 ms sd"].tolist() == pytest.approx([2**0.5])
    assert "run again" not in render.to_plain(table)  # that is of rows that are not in this table


def test_what_was_measured_otherwise_is_not_averaged() -> None:
    rows = [measured(10.0, threads=1), measured(6.0, 1, threads=2), measured(5.0, 2, threads=2)]
    assert efficiency(pd.DataFrame(rows))[["threads", "n", "p50 ms"]].to_numpy().tolist() == [[1, 1, 10.0], [2, 2, 5.5]]


def test_rows_without_measurements_make_no_table_of_efficiency() -> None:
    frame = FRAME.assign(latency_p50_ms=None)
    with pytest.raises(DataError, match=r"experiments\.efficiency"):
        efficiency(frame)


def test_numbers_just_below_a_thousand_have_no_exponent() -> None:
    assert "1,000" in render.to_plain(efficiency(pd.DataFrame([measured(999.7)])))


def test_front_holds_what_nothing_beats() -> None:
    def trial(number: int, score: float, latency: float, **more: Any) -> dict[str, Any]:
        about = {"kind": "trial", "trial": number, "validation_f1_micro": score, "latency_ms": latency}
        return {**row("student", 0.0), **about, "config_layers": number, "config_epochs": 4, **more}

    frame = pd.DataFrame(
        [
            trial(1, 0.80, 9.0),
            trial(2, 0.70, 3.0),
            trial(3, 0.69, 5.0),  # slower and worse than 2
            trial(4, 0.80, 12.0),  # slower and no better than 1
            trial(5, 0.99, 1.0, status="stopped"),
            trial(6, 0.70, 3.0),  # the same as 2
            trial(7, 0.10, 0.5),
        ]
    )
    front = pareto(pd.concat([frame, FRAME]))
    assert front["trial"].tolist() == [7, 2, 1]
    assert front.columns.tolist() == ["trial", "validation_f1_micro", "latency_ms", "layers"]
    assert "0.8" in render.to_plain(front)
    assert pareto(frame, cost="parameters")["trial"].tolist() == [1]
    with pytest.raises(DataError, match="no finished trial"):
        pareto(FRAME)


def replays(*names: str) -> list[dict[str, Any]]:
    """Of random search (regret 0.5 and 0.6 at both budgets) and the swarm (0.1 and 0.2) on the tables ``names``."""
    return [
        {**row(name, float("nan"), seed, "searcher", test_f1_blue=None), "pair": table, "method": name,
         "regret_at_10": base + seed / 10, "regret_at_40": base + seed / 10}
        for table in names for name, base in (("random", 0.5), ("pso", 0.1)) for seed in (0, 1)
    ]  # fmt: skip


def test_searchers_are_ranked_by_regret() -> None:
    table = searchers(pd.DataFrame(replays("t")))
    assert table["searcher"].tolist() == ["pso", "random"]
    assert table.loc[0, "regret at 40"] == "0.150 ± 0.071"
    assert table.attrs["best"] == [[False, False, False, True, True], [False] * 5]
    assert "nan" not in searchers(pd.DataFrame(replays("t")[:1])).to_csv()  # one seed has no spread
    assert searchers(pd.DataFrame(replays("t", "u")))["table"].tolist() == ["t", "t", "u", "u"]
    with pytest.raises(DataError, match=r"experiments\.searchers"):
        searchers(FRAME)


def test_regret_has_an_interval_that_is_never_below_nothing() -> None:
    table = regrets(pd.DataFrame(replays("t"))).set_index(["searcher", "trials"])
    line = table.loc[("random", 40)]
    assert (line["low"], line["high"]) == (0.0, pytest.approx(0.55 + 12.706 * 0.05, abs=1e-3))


def test_replayed_searchers_are_no_methods() -> None:
    table = stage_table(pd.concat([FRAME, pd.DataFrame(replays("t"))]))
    assert not {"pso", "random"} & set(table["stage"])
