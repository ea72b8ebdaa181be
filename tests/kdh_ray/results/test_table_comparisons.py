"""Tables that compare: significance over seeds, and ablations."""

import pandas as pd
import pytest
from result_rows import ABLATION, FRAME, SIZES, row

from kdh_ray.errors import DataError
from kdh_ray.results import render
from kdh_ray.results.tables import ablation, significance


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


def test_unpaired_methods_are_reported() -> None:
    pytest.importorskip("statsmodels", reason="extra 'statistics' is not installed")
    students = SIZES[SIZES["kind"] == "student"]
    with pytest.raises(DataError, match="a seed that both have"):
        significance(students.assign(seed=None), "plain")
    assert set(significance(students.assign(seed=students["seed"].map("s{}".format)), "plain")["n"]) == {2}
    shifted = students.assign(
        seed=students["seed"] + 7 * ((students["size"] == "small") & (students["stage"] == "plain"))
    )
    table = significance(shifted, "plain")
    assert table["size"].tolist() == ["large"]
    assert table.attrs["note"] == "nothing shares a seed with 'plain' on hoc-blurb small"


def test_skipped_pairs_are_reported() -> None:
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


def test_method_without_common_seed_keeps_its_line() -> None:
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


def test_ablation_pairs_changes_with_full_method() -> None:
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
