"""What stands in a report, section by section. What the rows don't hold is left out, with the reason."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from kdh_ray.errors import DataError, UserError
from kdh_ray.report.appendix import configurations, corpora, published_results, unfinished
from kdh_ray.report.figures import SCORES, SEARCH, Figure, LeftOut, Maker, ablation, attempt, calibration, cost, regret
from kdh_ray.report.parts import Report, Section, Table
from kdh_ray.report.summary import Key, Winner, best_line, facts, lede, signed, winner
from kdh_ray.results import tables
from kdh_ray.results.selections import largest, means, objective_name, results, settings, short, trials
from kdh_ray.results.tables import NO_METHOD, REFERENCE, is_repeated, repetitions, significance, stage_table

if TYPE_CHECKING:
    import pandas as pd

    from kdh_ray.results.saved_predictions import Predicted

_BEST_TRIALS = 10
_LONGEST_NAME = 60  # of a label in a figure's file name
_OF_A_PAIR = tuple(each for each in SCORES if each is not cost)  # costs compare pairs: they are drawn for all at once


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
    import pandas as pd

    if frame.empty:
        raise DataError("there are no result rows to report")
    frame = frame.reset_index(drop=True)
    frame = frame.assign(protocol=frame["protocol"].fillna("") if "protocol" in frame else "")
    notes = [*notes, *repetitions(frame)]
    frame = frame[~is_repeated(frame)]
    predicted = predicted or {}
    winners: list[Winner] = []
    sections: list[Section] = []
    settings: list[Section] = []
    everything: list[pd.DataFrame] = []
    is_replay = frame["kind"] == "searcher" if "kind" in frame else pd.Series(False, index=frame.index)
    for corpus, pairs in _places(frame[~is_replay]):
        compared = {pair: _compared(part) for pair, part in pairs.items()}
        everything += compared.values()
        if len(pairs) > 1:
            sections.append(_overview(pd.concat(compared.values()), _label(corpus)))
        for pair, part in pairs.items():
            label, rows = _label(corpus, pair), compared[pair]
            section = _scores(rows, predicted, label, SCORES if len(pairs) == 1 else _OF_A_PAIR)
            try:
                winners.append(winner(results(rows), predicted))
            except UserError as error:
                section.left_out.append(LeftOut("The winner", str(error)))
            sections += [section, _ablation(part, label), _efficiency(part, label), _search(part, label)]
            settings.append(configurations(rows, label))
    own = pd.concat([frame.head(0), *everything])
    sections += [_replays(frame), corpora(own), *settings, published_results(own), unfinished(frame, notes)]
    _told_apart(sections)
    shown = [section for section in sections if section.tables or section.figures]
    absent = [section for section in sections if section not in shown]
    missing = Section("Not shown", left_out=[each for section in absent for each in _of_section(section)])
    told = facts(frame) | ({"Left aside": f"{_count(notes)}: see the end"} if notes else {})
    return Report(title or _title(frame), lede(frame), told, winners, shown + ([missing] if missing.left_out else []))


def _of_section(section: Section) -> list[LeftOut]:
    """What it leaves out, with the corpus and pair that its title names."""
    _, colon, label = section.title.partition(": ")
    return [replace(each, title=each.title + colon + label) for each in section.left_out]


def _count(notes: Sequence[str]) -> str:
    return "1 note" if len(notes) == 1 else f"{len(notes)} notes"


def _title(frame: pd.DataFrame) -> str:
    names = frame["experiment"].dropna().unique().tolist() if "experiment" in frame else []
    return "Results of " + (", ".join(names[:3]) + (" and others" if len(names) > 3 else "") if names else "runs")


def _places(frame: pd.DataFrame) -> list[tuple[str, dict[str, pd.DataFrame]]]:
    """What compares: rows by corpus and by pair of encoders, which have a name where there are several."""
    corpora = [(str(name), part) for name, part in frame.groupby("protocol", sort=False)]
    found = []
    for name, part in corpora:
        pairs = {"": part}
        if "pair" in part and part["pair"].nunique(dropna=False) > 1:
            named = part["pair"].fillna("other runs")
            pairs = {str(pair): rows for pair, rows in part.groupby(named, sort=False)}
        found.append(((name or "no corpus named") if len(corpora) > 1 else "", pairs))
    return found


def _label(*names: str) -> str:
    """``: hoc-blurb, mpnet-minilm``, to follow a title."""
    shown = ", ".join(filter(None, names))
    return f": {shown}" if shown else ""


def _overview(part: pd.DataFrame, label: str) -> Section:
    """All pairs of encoders side by side."""
    section = Section(f"All pairs of encoders{label}")
    try:
        named = results(part).drop(columns="pair", errors="ignore")  # by names that tell pairs and experiments apart
        section.tables.append(
            Table("Methods by size of the training split", tables.by_size(named.assign(experiment=None)))
        )
    except DataError as error:
        section.left_out.append(LeftOut("Methods by size of the training split", str(error)))
    made, left = attempt([cost], part)
    section.figures, section.left_out = _named(made, label), section.left_out + left
    return section


def _named(figures: list[Figure], label: str) -> list[Figure]:
    """With their section's label in their names, as of files."""
    if not label:
        return figures
    suffix = "-" + re.sub(r"[\W_]+", "-", label.removeprefix(": "))[:_LONGEST_NAME].strip("-")
    return [replace(each, name=each.name + suffix) for each in figures]


def _told_apart(sections: list[Section]) -> None:
    """Give figures whose labels differ in signs alone, or far behind, names of their own: they are names of files."""
    seen: set[str] = set()
    for section in sections:
        for index, each in enumerate(section.figures):
            names = (each.name if n == 1 else f"{each.name}-{n}" for n in count(1))
            name = next(name for name in names if name.casefold() not in seen)
            seen.add(name.casefold())
            section.figures[index] = replace(each, name=name)


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
    section.tables.append(Table("What models cost where they run", table))
    made, section.left_out = attempt([cost], part[part["latency_p50_ms"].notna()])
    section.figures = [replace(each, name=f"{each.name}-measured") for each in _named(made, label)]
    return section


def _scores(part: pd.DataFrame, predicted: Mapping[Key, Predicted], label: str, makers: Sequence[Maker]) -> Section:
    section = Section(f"Scores{label}")
    runs = part if "kind" not in part else part[~part["kind"].isin(NO_METHOD)]
    if len(runs):
        section.tables.append(Table("All methods", stage_table(runs)))
    made, section.left_out = attempt(makers, part)
    more, left = attempt([calibration], _ordered(part, predicted))
    section.figures, section.left_out = _named(made + more, label), section.left_out + left
    try:
        rows = results(part)
        best = str(best_line(means(largest(rows)))["method"])
        table, cautions, untested = _significance(rows, best)
        note = (
            f"Difference: the method's mean score less that of {best}, over the n seeds that both have, in points, with"
            " Student's 95 % interval; p: Wilcoxon's signed-rank test, corrected after Holm for the methods tested at a"
            " size; effect: rank-biserial correlation, -1 where the method loses on every seed, 1 where it wins."
        )
        note += "".join(f" {each[0].upper()}{each[1:]}." for each in cautions)
        note += f" Not tested, for want of two common seeds: {', '.join(untested)}." if untested else ""
        section.tables.append(Table(f"Every method against {best}, paired by seed", table, note))
    except UserError as error:
        section.left_out.append(LeftOut("Tests over seeds", str(error)))
    return section


def _ordered(part: pd.DataFrame, predicted: Mapping[Key, Predicted]) -> list[Predicted]:
    """Predictions at the largest size, those of the best method first, by the names that it goes by here."""
    try:
        rows = largest(results(part))
    except DataError:
        return []
    order = means(rows)["method"].tolist()
    rows = rows.sort_values("method", key=lambda names: names.map(order.index), kind="stable")
    keys = zip(rows["run_id"].astype(str), rows["stage"].astype(str), strict=True)
    named = zip(keys, rows["method"], strict=True)
    return [replace(predicted[key], name=method) for key, method in named if key in predicted]


def _significance(rows: pd.DataFrame, reference: str) -> tuple[pd.DataFrame, list[str], list[str]]:
    """The tests, in words and points; what so few seeds can tell; and which methods share too few for a test."""
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
        }
    )
    cautions = [note for note in (*table.sort_values("n")["note"].unique(), found.attrs["note"]) if note]
    return pd.concat([*places, words], axis=1), cautions, sorted(set(found.loc[found["n"] < 2, "method"]))


def _replays(frame: pd.DataFrame) -> Section:
    section = Section("Searchers on replayed trials")
    made, section.left_out = attempt([regret], frame)
    if made:
        section.intro = (
            "Tables of real trials, each trained once, replayed for every searcher and seed on simulated workers."
        )
        section.tables, section.figures = [Table("Regret by trials", tables.searchers(frame))], made
    return section


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
    places = [name for name in ("size", "seed") if name in rows and rows[name].nunique() > 1]
    names = ["searcher", *places, "trial", "particle", "status", "epochs_run", "score", *settings(rows)]
    best = rows.nlargest(_BEST_TRIALS, "score")[names].dropna(axis="columns", how="all")
    best = best.assign(score=[f"{100 * score:.1f}" for score in best["score"]])
    best = best.rename(columns={str(name): short(str(name)) for name in best} | {"epochs_run": "epochs run"})
    section.tables.append(Table("The best trials", best, f"Scores are validation {objective_name(rows)} in %."))
    return section
