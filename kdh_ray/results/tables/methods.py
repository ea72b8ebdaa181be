"""Tables of methods: means over seeds, the same with sizes side by side, and single runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kdh_ray.errors import DataError
from kdh_ray.results.columns import normalise_rows
from kdh_ray.results.method_rows import (
    GROUP,
    SETTINGS,
    STUDENT,
    means_over_seeds,
    method_names,
    method_rows,
    official_scores,
    score_title,
    size_order,
)
from kdh_ray.results.notes import baseline_notes, member_notes, mixture_notes, reading_notes, repetitions

if TYPE_CHECKING:
    import pandas as pd

SCORES = ("test_f1_micro", "test_f1_macro", "test_precision_micro", "test_recall_micro", "official")
COSTS = ("parameters", "seconds", "documents_per_second")
MISSING = "–"
NO_SIZE = "no size named"


def stage_table(frame: pd.DataFrame, scores: Sequence[str] = SCORES, counted: str = "official") -> pd.DataFrame:
    """Return a line per stage or baseline: means over seeds, standard deviations, and the number of seeds.

    Args:
        frame: From ``load_runs`` or ``normalise_rows``.
        scores: Columns to average; ``official`` is the test score in the protocol's official metric.
        counted: The score without which a row does not count. Where no row has it, all finished rows count.

    Returns:
        The columns of :data:`GROUP` (a study's method is in ``stage``), ``metric``, ``n`` (rows averaged),
        ``unfinished`` (rows left out: failed, stopped or without a score), each score and cost with its standard
        deviation (``_sd``, NaN where n is 1), and ``best``: whether this is the best student of its protocol and size.
        Lines are ordered by protocol, pair and size. ``attrs["note"]`` has the notes of :mod:`kdh_ray.results.notes`.

    Raises:
        DataError: If there are no rows of methods.

    Example:
        >>> stage_table(load_runs("runs"))[["stage", "n", "test_f1_micro", "test_f1_micro_sd"]]
    """
    if frame.empty:
        raise DataError("there are no result rows to make a table of")
    rows = method_rows(normalise_rows(frame, *(name for name in (*scores, counted) if name != "official")))
    if rows.empty:
        raise DataError("there are no result rows to make a table of, but trials of searches: see --all")
    of_study = rows["study_method"].notna()
    rows = rows.assign(stage=rows["stage"].where(~of_study, rows["method"]), variant=rows["variant"].where(~of_study))
    # Where no row has a score, the table is for comparing costs, and every finished row counts.
    has_score = rows[counted].notna() | bool(rows[counted].isna().all())
    counts = (rows["status"] == "ok") & has_score
    table = means_over_seeds(rows, GROUP, (*scores, *COSTS), counts)
    groups = rows.groupby(list(GROUP), sort=False, dropna=False)
    position = len(GROUP)
    # Both group the same rows by the same columns, so their lines are in the same order.
    table.insert(position, "metric", [next(iter(own["metric"].dropna()), None) for _, own in groups])
    table.insert(position + 2, "unfinished", groups.size().to_numpy() - table["n"].to_numpy())
    table["best"] = _is_best(table)
    notes = (repetitions, mixture_notes, member_notes, reading_notes)
    said = [note for notes_of in notes for note in notes_of(frame)]
    table.attrs["note"] = "; ".join([*said, *baseline_notes(table)])
    return table


def run_table(frame: pd.DataFrame, scores: Sequence[str] = SCORES) -> pd.DataFrame:
    """Return a line per row without averaging: identity, status, error, scores and costs."""
    identity = ["run_id", *GROUP, "seed", "status", "error", "metric"]
    rows = frame.assign(official=official_scores(frame))
    return rows[[*identity, *scores, *COSTS]]


def _is_best(table: pd.DataFrame) -> pd.Series[bool]:
    """Return which lines are the best student of their protocol and size.

    It has the highest official score to a tenth of a point, as it is shown, and among those the most seeds. A line that
    is the only one with a score is not called the best. Where no row names its kind, lines with parameters (encoders,
    not baselines) are compared.
    """
    kinds = table["kind"]
    students = kinds == STUDENT if kinds.notna().any() else table["parameters"].notna()
    settings = [table[name] for name in SETTINGS]

    def is_highest(values: pd.Series[Any]) -> pd.Series[bool]:
        return values.notna() & (values == values.groupby(settings, dropna=False).transform("max"))

    first = is_highest(table["official"].where(students).round(3))  # 0.001 is a tenth of a point
    has_rival = table["official"].groupby(settings, dropna=False).transform("count") > 1
    return is_highest(table["n"].where(first)) & has_rival


def by_size(frame: pd.DataFrame, score: str = "official") -> pd.DataFrame:
    """Return methods down and dataset sizes across, as ``mean ± sd (n)`` in % of the finished rows.

    Args:
        frame: From ``load_runs`` or ``normalise_rows``.
        score: A column, or ``official``: the test score in the protocol's official metric.

    Returns:
        Text columns ``protocol``, ``method`` and the sizes, small first; rows without a size are in :data:`NO_SIZE`.
        ``attrs["best"]`` says of each cell, as a list per line, whether it is the best student's.

    Raises:
        DataError: If a method has several lines of one size, for instance from two experiments.
    """
    import pandas as pd

    table = stage_table(frame, tuple(dict.fromkeys(("official", score))), score)
    table = table.assign(method=_line_names(table), size=table["size"].fillna(NO_SIZE))
    sizes = sorted(table["size"].unique().tolist(), key=lambda size: (size == NO_SIZE, size_order(size)))
    lines, best = [], []
    for (protocol, method), group in table.groupby(["protocol", "method"], sort=False, dropna=False):
        # A method of two experiments has two lines of a size, which must not overwrite each other.
        cells = {line["size"]: line for line in group.to_dict("records")}
        if len(cells) < len(group):
            raise DataError(
                f"{method!r} has several lines of one size on {protocol}: choose one experiment first (--experiment)"
            )
        lines.append(
            {"protocol": protocol, "method": method}
            | {size: spread_cell(cells[size], score) if size in cells else MISSING for size in sizes}
        )
        best.append([False, False, *(size in cells and bool(cells[size]["best"]) for size in sizes)])
    result = pd.DataFrame(lines, columns=["protocol", "method", *sizes])
    caption = f"{score_title(table, score)} in %, mean ± standard deviation over seeds (n)"
    result.attrs |= {"best": best, "caption": caption, "note": table.attrs["note"]}
    return result


def _line_names(table: pd.DataFrame) -> pd.Series[str]:
    """Return the method of each line of :func:`stage_table`, whose stage already is the method of a study."""
    return method_names(table.assign(method=None, pair=None))


def spread_cell(line: Mapping[Any, Any], score: str, with_n: bool = True) -> str:
    """Return ``82.0 ± 2.0 (3)``: mean, standard deviation and n of a line of :func:`stage_table`, in %."""
    value, spread = line.get(score), line.get(f"{score}_sd")
    if value is None or value != value:  # NaN is not equal to itself
        return MISSING
    if spread is None or spread != spread:
        return f"{100 * value:.1f}"
    return f"{100 * value:.1f} ± {100 * spread:.1f}" + (f" ({line['n']})" if with_n else "")
