"""Sections of a report. What the rows don't hold is left out, with the reason."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from kdh_ray.errors import DataError, UserError
from kdh_ray.report.appendix import configurations, corpora, published_results, unfinished
from kdh_ray.report.facts import facts, lede
from kdh_ray.report.figures import (
    SCORE_FIGURES,
    SEARCH_FIGURES,
    Figure,
    LeftOut,
    Maker,
    ablation,
    attempt,
    calibration,
    cost,
    front,
    regret,
)
from kdh_ray.report.parts import Report, Section, Table
from kdh_ray.report.winner import Winner, best_student, winner
from kdh_ray.report.wording import plural, signed
from kdh_ray.results import normalise_rows, tables
from kdh_ray.results.columns import LATENCY, setting_name
from kdh_ray.results.method_rows import (
    NO_METHOD,
    REPLAY,
    finished_rows,
    is_repeated,
    largest_size,
    ranked_methods,
)
from kdh_ray.results.notes import member_notes, repetitions
from kdh_ray.results.search_trials import searched_settings, shared_objective, trial_rows
from kdh_ray.results.tables import REFERENCE, significance, stage_table

if TYPE_CHECKING:
    import pandas as pd

    from kdh_ray.results.saved_predictions import Key, StagePrediction

_BEST_TRIALS = 10
_LONGEST_NAME = 60  # characters of a section's label in a figure's file name
_FIGURES_OF_A_PAIR = tuple(
    each for each in SCORE_FIGURES if each is not cost
)  # cost compares pairs: drawn once for all
_BY_SIZE = "Methods by size of the training split"


def make_report(
    frame: pd.DataFrame,
    predictions: Mapping[Key, StagePrediction] | None = None,
    notes: Sequence[str] = (),
    title: str | None = None,
) -> Report:
    """Return the report on rows of runs, searches and studies.

    Args:
        frame: From ``load_runs``.
        predictions: Test predictions by run id and stage, from ``load_predictions``; they add calibration and intervals
            over documents.
        notes: Sentences about what could not be read, which the report shows at its end.
        title: Title of the page; made from the experiments' names if None.

    Raises:
        DataError: If the frame is empty.
    """
    import pandas as pd

    if frame.empty:
        raise DataError("there are no result rows to report")
    frame = normalise_rows(frame.reset_index(drop=True))
    frame = frame.assign(protocol=frame["protocol"].fillna(""))
    notes = [*notes, *repetitions(frame)]
    frame = frame[~is_repeated(frame)]  # a note at the end names the runs that are replaced
    predictions = predictions or {}
    winners: list[Winner] = []
    sections: list[Section] = []
    settings: list[Section] = []
    compared_rows: list[pd.DataFrame] = []
    for corpus, pairs in _comparable_rows(frame[frame["kind"] != REPLAY]):
        compared = {pair: _without_special_sections(part) for pair, part in pairs.items()}
        compared_rows += compared.values()
        if len(pairs) > 1:
            sections.append(_overview(pd.concat(compared.values()), _label(corpus)))
        for pair, part in pairs.items():
            label, rows = _label(corpus, pair), compared[pair]
            section = _scores(rows, predictions, label, SCORE_FIGURES if len(pairs) == 1 else _FIGURES_OF_A_PAIR)
            try:
                winners.append(winner(finished_rows(rows), predictions))
            except UserError as error:
                section.left_out.append(LeftOut("The winner", str(error)))
            sections += [section, _ablation(part, label), _efficiency(part, label), _search(part, label)]
            settings.append(configurations(rows, label))
    own = pd.concat([frame.head(0), *compared_rows])
    sections += [_replays(frame), corpora(own), *settings, published_results(own), unfinished(frame, notes)]
    _name_figures_uniquely(sections)
    about = facts(frame) | ({"Left aside": f"{plural(len(notes), 'note')}: see the end"} if notes else {})
    return Report(title or _title(frame), lede(frame), about, winners, _with_absent_last(sections))


def _with_absent_last(sections: list[Section]) -> list[Section]:
    """Return the sections that show something, and a last one that lists what the others leave out."""
    shown = [section for section in sections if section.tables or section.figures]
    absent = [section for section in sections if section not in shown]
    missing = Section("Not shown", left_out=[each for section in absent for each in _labelled_left_out(section)])
    return shown + ([missing] if missing.left_out else [])


def _labelled_left_out(section: Section) -> list[LeftOut]:
    """Return what a section leaves out, with the corpus and pair that the section's title names."""
    _, colon, label = section.title.partition(": ")
    return [replace(each, title=each.title + colon + label) for each in section.left_out]


def _title(frame: pd.DataFrame) -> str:
    """Return a title that names up to three experiments."""
    names = frame["experiment"].dropna().unique().tolist()
    return "Results of " + (", ".join(names[:3]) + (" and others" if len(names) > 3 else "") if names else "runs")


def _comparable_rows(frame: pd.DataFrame) -> list[tuple[str, dict[str, pd.DataFrame]]]:
    """Return rows by corpus and by pair of encoders; each has a name only where there are several."""
    by_corpus = [(str(name), part) for name, part in frame.groupby("protocol", sort=False)]
    groups = []
    for name, part in by_corpus:
        pairs = {"": part}
        if part["pair"].nunique(dropna=False) > 1:
            names = part["pair"].fillna("other runs")
            pairs = {str(pair): rows for pair, rows in part.groupby(names, sort=False)}
        groups.append(((name or "no corpus named") if len(by_corpus) > 1 else "", pairs))
    return groups


def _label(*names: str) -> str:
    """Return ``: hoc-blurb, mpnet-minilm``, which follows the title of a section."""
    shown = ", ".join(filter(None, names))
    return f": {shown}" if shown else ""


def _overview(part: pd.DataFrame, label: str) -> Section:
    """Return a section with all pairs of encoders next to each other."""
    section = Section(f"All pairs of encoders{label}")
    try:
        rows = finished_rows(part).assign(pair=None, experiment=None)  # the methods' names contain both where needed
        section.tables.append(Table(_BY_SIZE, tables.by_size(rows)))
    except DataError as error:
        section.left_out.append(LeftOut(_BY_SIZE, str(error)))
    made, left_out = attempt([cost], part)
    section.figures, section.left_out = _named(made, label), section.left_out + left_out
    return section


def _named(figures: list[Figure], label: str) -> list[Figure]:
    """Return the figures with the label of their section in their file names."""
    if not label:
        return figures
    suffix = "-" + re.sub(r"[\W_]+", "-", label.removeprefix(": "))[:_LONGEST_NAME].strip("-")
    return [replace(each, name=each.name + suffix) for each in figures]


def _name_figures_uniquely(sections: list[Section]) -> None:
    """Number the names of figures that would be the same file: labels may differ only in signs, or far behind."""
    seen: set[str] = set()
    for section in sections:
        for index, each in enumerate(section.figures):
            names = (each.name if n == 1 else f"{each.name}-{n}" for n in count(1))
            # Some file systems do not distinguish upper and lower case.
            name = next(name for name in names if name.casefold() not in seen)
            seen.add(name.casefold())
            section.figures[index] = replace(each, name=name)


def _without_special_sections(part: pd.DataFrame) -> pd.DataFrame:
    """Return rows without those of ablations and of measured efficiency, which have sections of their own.

    Where no finished row would be left, all rows are returned.
    """
    ablations = part.loc[part["method"] == REFERENCE, "experiment"]
    # Measured classifiers and changed methods would fill the comparison with near copies of its methods.
    is_special = part[LATENCY].notna() | part["experiment"].isin(ablations)
    try:
        finished_rows(part[~is_special])
    except DataError:
        return part
    return part[~is_special]


def _ablation(part: pd.DataFrame, label: str) -> Section:
    """Return the section about changes to the full method."""
    section = Section(f"Ablation{label}", "Each line makes one change to the full method and leaves the rest as it is.")
    made, section.left_out = attempt([ablation], part)
    section.figures = _named(made, label)
    if made:
        note = "Thresholds: the full method's own model, with thresholds chosen in another way."
        section.tables.append(Table("All changes", tables.ablation(part), note))
    return section


def _efficiency(part: pd.DataFrame, label: str) -> Section:
    """Return the section about measured latency, size and throughput."""
    section = Section(f"Efficiency{label}")
    try:
        table = tables.efficiency(part)
    except DataError as error:
        section.left_out.append(LeftOut("Efficiency", str(error)))
        return section
    section.tables.append(Table("What models cost where they run", table))
    made, section.left_out = attempt([cost], part[part[LATENCY].notna()])
    section.figures = [replace(each, name=f"{each.name}-measured") for each in _named(made, label)]
    return section


def _scores(
    part: pd.DataFrame, predictions: Mapping[Key, StagePrediction], label: str, makers: Sequence[Maker]
) -> Section:
    """Return the section about test scores: all methods, figures, and tests over seeds."""
    section = Section(f"Scores{label}")
    runs = part[~part["kind"].isin(NO_METHOD)]
    if len(runs):
        note = " ".join(f"{each[0].upper()}{each[1:]}." for each in member_notes(part))
        section.tables.append(Table("All methods", stage_table(runs), note))
    made, section.left_out = attempt(makers, part)
    more, left_out = attempt([calibration], _ranked_predictions(part, predictions))
    section.figures, section.left_out = _named(made + more, label), section.left_out + left_out
    try:
        rows = finished_rows(part)
        best = str(best_student(ranked_methods(largest_size(rows)))["method"])
        table, cautions, untested = _significance(rows, best)
    except UserError as error:
        section.left_out.append(LeftOut("Tests over seeds", str(error)))
        return section
    note = (
        f"Difference: the method's mean score less that of {best}, over the n seeds that both have, in points, with"
        " Student's 95 % interval; p: Wilcoxon's signed-rank test, corrected after Holm for the methods tested at a"
        " size; effect: rank-biserial correlation, -1 where the method loses on every seed, 1 where it wins."
    )
    note += "".join(f" {each[0].upper()}{each[1:]}." for each in cautions)
    note += f" Not tested, for lack of two common seeds: {', '.join(untested)}." if untested else ""
    section.tables.append(Table(f"Every method against {best}, paired by seed", table, note))
    return section


def _ranked_predictions(part: pd.DataFrame, predictions: Mapping[Key, StagePrediction]) -> list[StagePrediction]:
    """Return the predictions at the largest size, the best method's first, named as the methods are here."""
    try:
        rows = largest_size(finished_rows(part))
    except DataError:
        return []
    order = ranked_methods(rows)["method"].tolist()
    rows = rows.sort_values("method", key=lambda names: names.map(order.index), kind="stable")
    keys = zip(rows["run_id"].astype(str), rows["stage"].astype(str), strict=True)
    named = zip(keys, rows["method"], strict=True)
    return [replace(predictions[key], name=method) for key, method in named if key in predictions]


def _significance(rows: pd.DataFrame, reference: str) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Return tests over seeds as text, in points; cautions about few seeds; and the methods that can't be tested."""
    import pandas as pd

    rows = rows[rows["seed"].notna()]
    rows = rows.assign(stage=rows["method"], method=None, variant=None, pair=None)  # keep the names as they are here
    tests = significance(rows, reference)
    table = tests[tests["n"] > 1]
    if table.empty:
        raise DataError("no two methods share more than one seed")
    limits = zip(table["low"], table["high"], strict=True)
    sizes = [table[["size"]]] if table["size"].notna().any() else []
    # Points with their sign, since the question is which method is better.
    text = pd.DataFrame(
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
    cautions = [note for note in (*table.sort_values("n")["note"].unique(), tests.attrs["note"]) if note]
    return pd.concat([*sizes, text], axis=1), cautions, sorted(set(tests.loc[tests["n"] < 2, "method"]))


def _replays(frame: pd.DataFrame) -> Section:
    """Return the section about searchers on replayed trials."""
    section = Section("Searchers on replayed trials")
    made, section.left_out = attempt([regret], frame)
    if made:
        section.intro = (
            "Tables of real trials, each trained once, replayed for every searcher and seed on simulated workers."
        )
        section.tables, section.figures = [Table("Regret by trials", tables.searchers(frame))], made
    return section


def _search(part: pd.DataFrame, label: str) -> Section:
    """Return the section about the trials of searches."""
    section = Section(f"Search{label}")
    try:
        rows = trial_rows(part)
    except DataError as error:
        section.left_out.append(LeftOut("Search", str(error)))
        return section
    in_folds = "folds_run" in rows and rows["folds_run"].notna().any()
    judge = "fold by fold on documents that its models never saw" if in_folds else "on the validation split only"
    section.intro = f"A trial trains one configuration and is scored {judge}; early stopping ends poor trials."
    objective = shared_objective(rows)
    section.intro = " ".join([section.intro, *part["search_choice"].dropna().drop_duplicates()])
    several = [front] if "objectives" in part and part["objectives"].notna().any() else []
    made, section.left_out = attempt([*SEARCH_FIGURES, *several], part)
    section.figures = _named(made, label)
    best = rows.nlargest(_BEST_TRIALS, "merit")
    varied = [name for name, trials in (("size", best), ("seed", rows)) if trials[name].nunique() > 1]
    marks = ["on_front"] if several else []
    names = ["searcher", *varied, "trial", "particle", "status", "epochs_run", "score", *marks]
    names += searched_settings(rows)
    one_size = "" if "size" in varied or rows["size"].nunique() < 2 else f" All are of size {best['size'].iloc[0]}."
    best = best[names].dropna(axis="columns", how="all")
    best = best.assign(score=[objective.text(score) for score in best["score"]])
    best = best.rename(
        columns={str(name): setting_name(str(name)) for name in best}
        | {"epochs_run": "epochs run", "on_front": "on front"}
    )
    section.tables.append(
        Table("The best trials", best, f"Scores are validation {objective.title}{objective.unit}.{one_size}")
    )
    return section
