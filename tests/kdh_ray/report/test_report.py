"""Page of a report: its sections, what they leave out and why, and that it loads nothing."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from result_rows import make_predictions

from kdh_ray.errors import DataError
from kdh_ray.report import make_report, to_html
from kdh_ray.report.appendix import configurations, published_results

VOID = {"meta", "link", "br", "hr", "img"}


class Tags(HTMLParser):
    """Parser that collects tags, addresses and ids, and fails on a closing tag that does not match."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href", "action")]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(study_rows: pd.DataFrame, search_rows: pd.DataFrame) -> str:
    """Page of a study and a search, with a name that would be a tag."""
    rows = pd.concat([study_rows.assign(experiment="<script>alert(1)</script>"), search_rows])
    return to_html(make_report(rows, make_predictions()))


def test_page_is_well_formed_and_needs_no_network(page: str) -> None:
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert "script" not in tags.tags
    assert all(address.startswith(("#", "data:")) for address in tags.addresses)
    assert not re.search(r"url\((?!#)|@import", page)
    assert len(tags.ids) == len(set(tags.ids))
    assert tags.tags.count("figure") == tags.tags.count("figcaption") == 10
    assert tags.tags.count("details") == 12  # each figure's data, the settings that all share, and the winner's tests
    assert "prefers-color-scheme: dark" in page


def test_first_screen_names_winner_and_margin(page: str) -> None:
    first = re.sub(r"\s+", " ", re.sub("<[^>]+>", "", page[page.index("<header>") : page.index("</header>")]))
    assert "77.0 ± 1.0 % test micro F1 of distilled, the best student on hoc-blurb, size large" in first
    assert re.search(r"\+6\.0 points \(95 %: \+\d+\.\d to \+\d+\.\d\) against plain", first)
    assert "at least 10 are needed" in first


def test_names_from_rows_are_escaped(page: str) -> None:
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    assert "fever &amp; &lt;chills&gt;" in page
    assert "<chills>" not in page


def test_missing_parts_name_their_reason(study: pd.DataFrame) -> None:
    report = make_report(study[study["size"] == "small"])
    missing = next(section for section in report.sections if section.title == "Not shown")
    assert "Search" in missing.reasons["there are no trials of a search among the rows"]
    assert any("only one size" in reason for section in report.sections for reason in section.reasons)


def test_a_search_alone_makes_a_page(search: pd.DataFrame) -> None:
    report = make_report(search)
    assert report.winners == []
    assert [figure.name for figure in report.figures][:2] == ["convergence", "importance"]
    page = to_html(report)
    assert "nothing has won" in page
    tables = {table.title: table.frame for section in report.sections for table in section.tables}
    assert tables["Trials that failed"].to_numpy().tolist() == [[1, "out of memory"]]
    assert "24 trials by pso: 15 to the end, 8 stopped early, 1 failed" in page


def test_rows_that_all_failed_make_a_page(study: pd.DataFrame) -> None:
    failed = study.assign(status="failed", error="no memory", test_f1_micro=None)
    page = to_html(make_report(failed))
    assert "no memory" in page
    assert "nothing has won" in page


def test_minimal_rows_make_a_page() -> None:
    page = to_html(make_report(pd.DataFrame([{"run_id": "a", "stage": "s", "status": "ok", "test_f1_micro": 0.5}])))
    assert "50.0" in page
    assert re.search(r"Left out, and why:.*Efficiency &ndash; no row has a measured latency", page, re.DOTALL)


def test_no_row_is_an_error() -> None:
    with pytest.raises(DataError, match="no result rows"):
        make_report(pd.DataFrame())


def test_protocols_have_figures_and_winners_of_their_own(study: pd.DataFrame) -> None:
    report = make_report(pd.concat([study, study.assign(protocol="hoc-blue", metric="f1_blue", test_f1_blue=0.5)]))
    assert [each.protocol for each in report.winners] == ["hoc-blurb", "hoc-blue"]
    names = [figure.name for figure in report.figures]
    assert {"by-method-hoc-blurb", "by-method-hoc-blue"} <= set(names)
    assert len(names) == len(set(names))


@pytest.fixture
def pairs(study: pd.DataFrame) -> pd.DataFrame:
    """Two pairs of encoders, the second ten points better, with larger models; the first has more seeds at small."""
    study = study.assign(method=study["stage"], pair="small-pair")
    better = study.assign(pair="large-pair", run_id=study["run_id"] + "-b", parameters=4 * study["parameters"])
    better["test_f1_micro"] += 0.1
    more = study[study["size"] == "small"].assign(seed=7, run_id="more")
    return pd.concat([study, better, more], ignore_index=True)


def test_each_pair_has_its_own_winner(pairs: pd.DataFrame) -> None:
    pytest.importorskip("statsmodels", reason="extra 'report' is not installed")
    report = make_report(pairs)
    shown = [(each.pair, each.method, each.parameters, round(each.mean)) for each in report.winners]
    assert shown == [
        ("small-pair", "distilled", "20.0 M parameters", 77),
        ("large-pair", "distilled", "80.0 M parameters", 87),
    ]
    assert all(
        {other.method for other in each.comparisons} == {"plain", "teacher", "tf-idf"} for each in report.winners
    )
    sections = {section.title: section for section in report.sections}
    table = sections["Scores: small-pair"].tables[0].frame
    assert table["stage"].tolist() == ["teacher", "plain", "distilled", "tf-idf"] * 3
    assert table["size"].tolist() == ["small"] * 4 + ["medium"] * 4 + ["large"] * 4
    tested = sections["Scores: large-pair"].tables[1]
    assert set(tested.frame["method"]) == {"plain", "teacher", "tf-idf"}
    assert "3 seeds can't give p below 0.25" in tested.note
    overview = sections["All pairs of encoders"]
    assert "distilled, large-pair" in overview.tables[0].frame["method"].tolist()
    assert [figure.name for figure in overview.figures] == ["cost"]
    names = [figure.name for figure in report.figures]
    assert len(names) == len(set(names))
    assert {"by-method-small-pair", "by-method-large-pair"} <= set(names)
    missing = next(section for section in report.sections if section.title == "Not shown")
    assert "Search: small-pair" in missing.reasons["there are no trials of a search among the rows"]
    first = to_html(report)
    first = first[: first.index("</header>")]
    assert "4 methods on large-pair, small-pair" in first
    assert first.count('class="score"') == 2


def test_runs_without_pair_have_their_section(pairs: pd.DataFrame, study: pd.DataFrame) -> None:
    """For instance ensembles: two experiments whose student has one name."""
    alone = study[study["stage"] == "distilled"]
    ensembles = [alone.assign(experiment=name, run_id=name + alone["run_id"]) for name in ("ensemble", "from-plain")]
    report = make_report(pd.concat([pairs, *ensembles], ignore_index=True))
    assert [each.pair for each in report.winners] == ["small-pair", "large-pair", None]
    overview = next(section for section in report.sections if section.title == "All pairs of encoders")
    methods = overview.tables[0].frame["method"].tolist()
    assert {"distilled, ensemble", "distilled, from-plain", "distilled, large-pair"} <= set(methods)
    assert "Scores: other runs" in [section.title for section in report.sections]


def test_runs_without_pair_join_no_pair(pairs: pd.DataFrame, study: pd.DataFrame) -> None:
    """For instance the quickstart's student next to that of the smoke study, which learns from other documents."""
    own = study.assign(experiment="quickstart", run_id="quickstart-" + study["run_id"])
    report = make_report(pd.concat([own, pairs[pairs["pair"] == "small-pair"]], ignore_index=True))
    assert [each.pair for each in report.winners] == [None, "small-pair"]


def test_searches_of_two_pairs_show_what_was_searched(pairs: pd.DataFrame, search: pd.DataFrame) -> None:
    """A setting that only differs between pairs, or between searches of different seeds, was not searched."""
    searches = [
        search.assign(pair=pair, config_start=start, config_epochs=epochs, seed=seed,
                      run_id=search["run_id"].str.replace("look", f"look{seed}-{pair}"))
        for pair, start, epochs, seed in
        (("small-pair", "a/0", 4, 0), ("small-pair", "a/1", 4, 1), ("large-pair", "b", 9, 0))
    ]  # fmt: skip
    report = make_report(pd.concat([pairs, *searches], ignore_index=True))
    sections = {section.title: section for section in report.sections}
    columns = sections["Search: small-pair"].tables[0].frame.columns.tolist()
    assert "seed" in columns
    assert not {"start", "epochs"} & set(columns)
    assert sections["Search: large-pair"].figures[0].data["search"].unique().tolist() == ["look0-large-pair-0-ab12"]


def test_replayed_searchers_have_a_section_of_their_own(study: pd.DataFrame) -> None:
    replays = pd.DataFrame(
        [
            {"run_id": f"{table}-{seed}", "stage": name, "method": name, "kind": "searcher", "status": "ok",
             "seed": seed, "pair": table, "protocol": table, "experiment": "searchers",
             "regret_at_10": 0.2 + place, "regret_at_20": 0.1 + place}
            for table in ("trials-a", "trials-b") for place, name in enumerate(("pso", "random")) for seed in (0, 1)
        ]
    )  # fmt: skip
    report = make_report(pd.concat([study, replays]))
    assert [each.method for each in report.winners] == ["distilled"]
    section = next(section for section in report.sections if section.title == "Searchers on replayed trials")
    assert section.tables[0].frame["searcher"].tolist() == ["pso", "random"] * 2
    assert "on trials-a pso 0.100, random 1.100; on trials-b" in section.figures[0].text
    assert report.facts["Searchers replayed"] == "pso, random"
    alone = make_report(replays)
    assert [section.title for section in alone.sections] == ["Searchers on replayed trials", "Not shown"]
    assert "regret at 20" in to_html(alone)


def test_many_notes_fold_and_hide_folders(study: pd.DataFrame) -> None:
    report = make_report(study, notes=[f"/home/somebody/runs/{n}/base/config.yaml: gone" for n in range(41)])
    table = next(table for section in report.sections for table in section.tables if table.title == "Notes (41)")
    assert table.folded
    assert "somebody" not in to_html(report)


def test_ablation_and_efficiency_stand_apart_from_the_comparison(study: pd.DataFrame, ablations: pd.DataFrame) -> None:
    ablations["test_f1_micro"] += 0.2  # better than anything compared
    measured = study[study["stage"] == "distilled"].tail(1).assign(
        method="distilled-int8", model="distilled", number_format="int8", variant="int8", experiment="efficiency",
        latency_p50_ms=9.0, disk_bytes=2**20, run_id="measured",
    )  # fmt: skip
    report = make_report(pd.concat([study, ablations, measured], ignore_index=True))
    assert report.winners[0].method == "distilled"
    sections = {section.title: section for section in report.sections}
    assert sections["Ablation"].tables[0].frame["method"].tolist() == ["full", "without-distillation", "alpha-1"]
    assert sections["Efficiency"].tables[0].frame["p50 ms"].tolist() == [9.0]
    assert "distilled" in to_html(report)


def test_rows_without_corpus_have_their_section(study: pd.DataFrame) -> None:
    report = make_report(pd.concat([study, study.assign(protocol=None)]))
    assert [each.protocol for each in report.winners] == ["hoc-blurb", ""]
    assert report.facts["Corpus"] == "hoc-blurb (small, medium, large)"
    assert "Scores: no corpus named" in [section.title for section in report.sections]


def test_published_table_marks_smaller_training_sizes(study: pd.DataFrame) -> None:
    for size, said in (("small", "these rows, size small only"), ("large", "these rows")):
        tables = {table.title: table.frame for table in published_results(study[study["size"] == size]).tables}
        assert set(tables["BLURB"]["by"]) == {said, "publication"}


def test_published_scores_meet_ours_by_protocol(study: pd.DataFrame) -> None:
    report = make_report(study)
    tables = {table.title: table for section in report.sections for table in section.tables}
    assert "distilled" in tables["BLURB"].frame["model"].tolist()
    assert set(tables["BLUE"].frame["by"]) == set(tables["KDH-MLTC (the paper)"].frame["by"]) == {"publication"}
    assert tables["KDH-MLTC (the paper)"].frame["score in %"].tolist() == ["82.70 ± 0.89"]
    assert all("Source: " in tables[title].note for title in ("BLURB", "BLUE", "KDH-MLTC (the paper)"))
    assert published_results(study.assign(protocol="notes")).tables == []


def test_configurations_show_what_differs_and_no_folders(study: pd.DataFrame) -> None:
    study["config_teachers"] = study["config_teachers"].str.replace(
        '"teacher"', '"/home/somebody/runs/a/stages/teacher/checkpoint"'
    )
    section = configurations(study)
    words = " ".join(table.frame.to_csv() for table in section.tables)
    assert "somebody" not in words
    assert "stages/teacher/checkpoint" in words
    assert [table.frame["setting"].tolist() for table in section.tables] == [["teachers", "dropout"], ["epochs"]]
    teachers = section.tables[0].frame.set_index("setting").loc["teachers"]
    assert teachers["distilled"] == "stages/teacher/checkpoint"  # no list in brackets
    assert pd.isna(teachers["plain"])


def test_bracketed_settings_are_not_parsed(study: pd.DataFrame) -> None:
    study["config_data.text_column"] = "[text]"
    study["config_start"] = "runs/of/somebody/" + study["stage"] + "/stages/teacher/checkpoint"
    words = " ".join(table.frame.to_csv() for table in configurations(study).tables)
    assert "[text]" in words
    assert "stages/teacher/checkpoint" in words
    assert "runs" not in words


def test_only_measured_pairs_have_efficiency(pairs: pd.DataFrame) -> None:
    measured = pairs[(pairs["pair"] == "small-pair") & (pairs["stage"] == "distilled")].tail(1)
    measured = measured.assign(run_id="measured", experiment="efficiency", model="distilled", latency_p50_ms=9.0)
    report = make_report(pd.concat([pairs, measured], ignore_index=True))
    assert [section.title for section in report.sections if "Efficiency" in section.title] == ["Efficiency: small-pair"]


def test_similar_corpora_have_unique_figure_names(study: pd.DataFrame) -> None:
    part = study[study["size"] == "large"].drop(columns=[name for name in study if "label" in str(name)])
    names = ("notes a", "notes-a", "病历", "x" * 300, "x" * 299)
    report = make_report(pd.concat([part.assign(protocol=name) for name in names]))
    found = [figure.name for figure in report.figures]
    assert {"by-method-notes-a", "by-method-notes-a-2", "by-method-病历"} <= set(found)
    assert len(set(found)) == len(found)
    assert max(map(len, found)) < 100


def test_best_trials_show_all_settings(search: pd.DataFrame) -> None:
    report = make_report(search.assign(config_epochs=1 + search["trial"] % 3))
    tables = {table.title: table for section in report.sections for table in section.tables}
    best = tables["The best trials"]
    assert best.frame.columns.is_unique
    assert {"epochs", "epochs run", "trial"} <= set(best.frame.columns)
    assert best.frame["score"].iloc[0] == f"{100 * search['validation_f1_micro'].max():.1f}"
    assert best.note == "Scores are validation micro F1 in %."


def test_search_over_folds_names_its_judge(search: pd.DataFrame) -> None:
    def intro(rows: pd.DataFrame) -> str:
        return next(part.intro for part in make_report(rows).sections if part.title.startswith("Search"))

    assert "scored on the validation split only" in intro(search)
    assert "scored fold by fold on documents that its models never saw" in intro(search.assign(folds_run=3.0))


def test_report_says_what_fold_models_reach(study: pd.DataFrame) -> None:
    one = study[study["kind"] == "student"].head(1).assign(method=None, refit_epochs=3.0)
    stage = one["stage"].iloc[0]
    folds = pd.concat([one.assign(kind="member", stage=f"{stage}-{fold}", refit_epochs=None) for fold in (1, 2)])
    report = make_report(pd.concat([one, folds, study[study["kind"] == "baseline"].assign(method=None)]))
    notes = [table.note for section in report.sections for table in section.tables if table.title == "All methods"]
    assert any(f"{stage.capitalize()} is trained on all folds; its fold models reach" in note for note in notes), notes
