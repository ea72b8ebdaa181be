"""What stands in a report, section by section. What the rows don't hold is left out, with the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from kdh_ray.errors import DataError, UserError
from kdh_ray.results import tables
from kdh_ray.results.figures import SCORES, SEARCH, Figure, LeftOut, ablation, attempt, calibration, cost
from kdh_ray.results.figures.rows import largest, means, objective_name, results, settings, short, trials
from kdh_ray.results.report.appendix import configurations, corpora, published_results, unfinished
from kdh_ray.results.report.parts import Report, Section, Table
from kdh_ray.results.report.summary import Key, best_line, facts, signed, winner
from kdh_ray.results.tables import ON_THE_WAY, REFERENCE, is_repeated, repetitions, significance, stage_table

if TYPE_CHECKING:
    import pandas as pd

    from kdh_ray.results.predictions import Predicted

_BEST_TRIALS = 10


def make_report(
    frame: pd.DataFrame,
    predicted: Mapping[Key, Predicted] | None = None,
    notes: Sequence[str] = (),
    title: str | None = None,
) -> Report:
    """Everything that the rows can tell.

    Args:
        frame: From ``load_runs``.
        predicted: Test predictions by run id and stage, from ``load_predictions``.
        notes: What could not be read; printed.
        title: Of the page; made from the experiments if not given.

    Raises:
        DataError: If the frame is empty.
    """
    if frame.empty:
        raise DataError("there are no result rows to report")
    frame = frame.reset_index(drop=True)
    if "protocol" in frame:
        frame = frame.assign(protocol=frame["protocol"].fillna(""))
    notes = [*notes, *repetitions(frame)]
    frame = frame[~is_repeated(frame)]
    predicted = predicted or {}
    winners, sections = [], []
    protocols = _protocols(frame)
    for name, part in protocols:
        label = f": {name or 'no corpus named'}" if len(protocols) > 1 else ""
        compared = _compared(part)
        section = _scores(compared, predicted, label)
        try:
            winners.append(winner(results(compared), predicted))
        except UserError as error:
            section.left_out.append(LeftOut("The winner", str(error)))
        sections += [section, _ablation(part, label), _efficiency(part, label), _search(part, label)]
    sections += [corpora(frame), configurations(frame), published_results(frame), unfinished(frame, notes)]
    shown = [section for section in sections if section.tables or section.figures]
    missing = Section(
        "Not shown", left_out=[each for section in sections if section not in shown for each in section.left_out]
    )
    told = facts(frame) | ({"Left aside": f"{_count(notes)}: see the end"} if notes else {})
    return Report(title or _title(frame), told, winners, shown + ([missing] if missing.left_out else []))


def _count(notes: Sequence[str]) -> str:
    return "1 note" if len(notes) == 1 else f"{len(notes)} notes"


def _title(frame: pd.DataFrame) -> str:
    names = frame["experiment"].dropna().unique().tolist() if "experiment" in frame else []
    return "Results of " + (", ".join(names[:3]) + (" and others" if len(names) > 3 else "") if names else "runs")


def _protocols(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    if "protocol" not in frame:
        return [("", frame.assign(protocol=""))]
    return [(str(name), part) for name, part in frame.groupby("protocol", sort=False)]


def _named(figures: list[Figure], label: str) -> list[Figure]:
    """With the protocol in names and titles, where there are several."""
    if not label:
        return figures
    suffix = "-" + "".join(letter if letter.isalnum() else "-" for letter in label.removeprefix(": "))
    return [replace(each, name=each.name + suffix, title=each.title + label) for each in figures]


def _compared(part: pd.DataFrame) -> pd.DataFrame:
    """Rows without those of an ablation and of measured efficiency, which have their own sections, if any are left."""
    import pandas as pd

    apart = pd.Series(False, index=part.index)
    if "latency_p50_ms" in part:
        apart |= part["latency_p50_ms"].notna()
    if "method" in part and "experiment" in part:
        apart |= part["experiment"].isin(part.loc[part["method"] == REFERENCE, "experiment"])
    try:
        results(part[~apart])
    except DataError:
        return part
    return part[~apart]


def _ablation(part: pd.DataFrame, label: str) -> Section:
    section = Section(f"Ablation{label}", "One change a line against the full method, everything else the same.")
    made, section.left_out = attempt([ablation], part)
    section.figures = _named(made, label)
    if made:
        note = "Thresholds: those of the full method's own model, chosen otherwise."
        section.tables.append(Table("All changes", tables.ablation(part), note))
    return section


def _efficiency(part: pd.DataFrame, label: str) -> Section:
    section = Section(f"Efficiency{label}")
    try:
        table = tables.efficiency(part)
    except DataError as error:
        section.left_out.append(LeftOut("Efficiency", str(error)))
        return section
    section.tables.append(Table("What models cost where they run", table, "Means over rows; latency at batch size 1."))
    made, section.left_out = attempt([cost], part[part["latency_p50_ms"].notna()])
    section.figures = [replace(each, name=f"{each.name}-measured") for each in _named(made, label)]
    return section


def _scores(part: pd.DataFrame, predicted: Mapping[Key, Predicted], label: str) -> Section:
    section = Section(f"Scores{label}")
    runs = part if "kind" not in part else part[~part["kind"].isin(ON_THE_WAY)]
    if len(runs):
        section.tables.append(Table("All methods", stage_table(runs)))
    made, section.left_out = attempt(SCORES, part)
    more, left = attempt([calibration], _ordered(part, predicted))
    section.figures, section.left_out = _named(made + more, label), section.left_out + left
    try:
        rows = results(part)
        best = str(best_line(means(largest(rows)))["method"])
        table, untested = _significance(rows, best)
        note = (
            f"Difference: the method's mean score less that of {best}, over the n seeds that both have, in points, with"
            " Student's 95 % interval; p: Wilcoxon's signed-rank test, corrected after Holm for the methods tested at a"
            " size; effect: rank-biserial correlation, -1 where the method loses on every seed, 1 where it wins."
        )
        note += f" Not tested, for want of two common seeds: {', '.join(untested)}." if untested else ""
        section.tables.append(Table(f"Every method against {best}, paired by seed", table, note))
    except UserError as error:
        section.left_out.append(LeftOut("Tests over seeds", str(error)))
    return section


def _ordered(part: pd.DataFrame, predicted: Mapping[Key, Predicted]) -> list[Predicted]:
    """Predictions at the largest size, those of the best method first."""
    try:
        rows = largest(results(part))
    except DataError:
        return []
    order = means(rows)["method"].tolist()
    rows = rows.sort_values("method", key=lambda names: names.map(order.index), kind="stable")
    keys = zip(rows["run_id"].astype(str), rows["stage"].astype(str), strict=True)
    return [predicted[key] for key in keys if key in predicted]


def _significance(rows: pd.DataFrame, reference: str) -> tuple[pd.DataFrame, list[str]]:
    """The tests, in words and points, and which methods share too few seeds for one."""
    import pandas as pd

    rows = rows[rows["seed"].notna()]
    rows = rows.assign(stage=rows["method"], variant=None).drop(columns=["method", "pair"], errors="ignore")
    found = significance(rows, reference)
    table = found[found["n"] > 1]
    if table.empty:
        raise DataError("no two methods share more than one seed")
    limits = zip(table["low"], table["high"], strict=True)
    places = [table[["size"]]] if table["size"].notna().any() else []
    words = pd.DataFrame(
        {
            "method": table["method"],
            "n": table["n"],
            "difference": (100 * table["difference"]).map(signed),
            "95 %": [f"{signed(100 * low)} to {signed(100 * high)}" for low, high in limits],
            "p": table["p"].map("{:.2g}".format),
            "p (Holm)": table["p_holm"].map("{:.2g}".format),
            "effect": table["effect"].map("{:+.2f}".format),
            "note": table["note"],
        }
    )
    if not table["note"].any():
        words = words.drop(columns="note")
    return pd.concat([*places, words], axis=1), sorted(set(found.loc[found["n"] < 2, "method"]))


def _search(part: pd.DataFrame, label: str) -> Section:
    section = Section(f"Search{label}")
    try:
        rows = trials(part)
    except DataError as error:
        section.left_out.append(LeftOut("Search", str(error)))
        return section
    section.intro = (
        "A trial trains one configuration and is scored on the validation split alone; early stopping ends poor ones."
    )
    made, section.left_out = attempt(SEARCH, part)
    section.figures = _named(made, label)
    names = ["searcher", "trial", "particle", "status", "epochs_run", "score", *settings(rows)]
    best = rows.nlargest(_BEST_TRIALS, "score")[names].dropna(axis="columns", how="all")
    best = best.assign(score=[f"{100 * score:.1f}" for score in best["score"]])
    best = best.rename(columns={str(name): short(str(name)) for name in best} | {"epochs_run": "epochs run"})
    section.tables.append(Table("The best trials", best, f"Scores are validation {objective_name(rows)} in %."))
    return section
