"""Means over seeds: by method, and by method and size; and single rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kdh_ray.errors import DataError
from kdh_ray.results.tables.method_rows import (
    GROUP,
    SETTINGS,
    method_names,
    official_scores,
    own_rows,
    repetitions,
    scored,
    size_order,
    with_columns,
)

if TYPE_CHECKING:
    import pandas as pd

SCORES = ("test_f1_micro", "test_f1_macro", "test_precision_micro", "test_recall_micro", "official")
COSTS = ("parameters", "seconds", "documents_per_second")
KINDS = ("student", "teacher", "baseline")
MISSING = "–"
NO_SIZE = "no size named"


def stage_table(frame: pd.DataFrame, scores: Sequence[str] = SCORES, counted: str = "official") -> pd.DataFrame:
    """One line a stage or baseline: means over seeds, sample standard deviations (``_sd``), and how many.

    Args:
        frame: From ``load_runs``.
        scores: Columns to average; ``official`` is the test score in the protocol's own metric.
        counted: The one that a row must have to count.

    Returns:
        The columns of :data:`GROUP`, ``metric``, ``n`` (finished rows averaged), ``unfinished`` (rows that failed, were
        stopped or have no score, left out of the means), each score and cost with its ``_sd`` (NaN where n is 1), and
        ``best``: whether this student has the highest official score of its protocol and size, as it is shown, and of
        those that share it the most seeds, where there is another line to compare it with. Lines stand by protocol,
        pair and size, else in the order of the rows.
        ``attrs["note"]`` says which runs were repeated: the last one counts.

    Raises:
        DataError: If the frame is empty.
    """
    import pandas as pd

    if frame.empty:
        raise DataError("there are no result rows to make a table of")
    rows = with_columns(own_rows(frame), [*GROUP, "metric", *scores, *COSTS])
    if rows.empty:
        raise DataError("there are no result rows to make a table of, but trials of searches: see --all")
    rows["official"] = official_scores(rows)
    has_score = rows[counted].notna() | bool(rows[counted].isna().all())  # none has one: costs alone are looked at
    rows["counts"] = (rows["status"] == "ok") & has_score
    groups = rows.groupby(list(GROUP), sort=False, dropna=False)
    lines = []
    for key, group in groups:
        finished = group[group["counts"]]
        line = {**dict(zip(GROUP, key, strict=True)), "metric": next(iter(group["metric"].dropna()), None)}
        line |= {"n": len(finished), "unfinished": len(group) - len(finished)}
        for name in (*scores, *COSTS):
            values = pd.to_numeric(finished[name], errors="coerce")
            line |= {name: values.mean(), f"{name}_sd": values.std(ddof=1)}
        lines.append(line)
    table = pd.DataFrame(lines)
    table["best"] = _best(table)
    table.attrs["note"] = "; ".join(repetitions(frame))
    return table


def run_table(frame: pd.DataFrame, scores: Sequence[str] = SCORES) -> pd.DataFrame:
    """One line a row, nothing averaged: identity, status, error, scores and costs."""
    identity = ["run_id", *GROUP, "seed", "status", "error", "metric"]
    rows = with_columns(frame, [*identity, *scores, *COSTS])
    rows["official"] = official_scores(rows)
    return rows[[*identity, *scores, *COSTS]]


def _best(table: pd.DataFrame) -> pd.Series[bool]:
    """Whether a line is a student with the highest official score among those of its protocol and size, to a tenth of
    a point; among those that share it, one with the most seeds.

    Where no row says what kind it is, all lines that have parameters are compared: encoders, not baselines.
    """
    kinds = table["kind"]
    students = kinds == "student" if kinds.notna().any() else table["parameters"].notna()
    places = [table[name] for name in SETTINGS]

    def highest(values: pd.Series[Any]) -> pd.Series[bool]:
        return values.notna() & (values == values.groupby(places, dropna=False).transform("max"))

    first = highest(table["official"].where(students).round(3))
    compared = table["official"].groupby(places, dropna=False).transform("count") > 1
    return highest(table["n"].where(first)) & compared


def by_size(frame: pd.DataFrame, score: str = "official") -> pd.DataFrame:
    """Methods down, dataset sizes across: ``mean ± sd (n)`` in % of the finished rows.

    Args:
        frame: From ``load_runs``.
        score: A column, or ``official``: the test score in the protocol's own metric.

    Raises:
        DataError: If a method has more than one line of a size, as from two experiments.

    Returns:
        Text columns ``protocol``, ``method`` and the sizes that there are, small first, and :data:`NO_SIZE`.
        ``attrs["best"]`` holds, a list a line, which cells are the best student's of their protocol and size.
    """
    import pandas as pd

    table = stage_table(frame, tuple(dict.fromkeys(("official", score))), score)
    table = table.assign(method=method_names(table), size=table["size"].fillna(NO_SIZE))
    sizes = sorted(table["size"].unique().tolist(), key=lambda size: (size == NO_SIZE, size_order(size)))
    lines, best = [], []
    for (protocol, method), group in table.groupby(["protocol", "method"], sort=False, dropna=False):
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
    caption = f"{scored(table, score)} in %, mean ± standard deviation over seeds (n)"
    result.attrs |= {"best": best, "caption": caption, "note": table.attrs["note"]}
    return result


def spread_cell(line: Mapping[Any, Any], score: str, with_n: bool = True) -> str:
    """``82.0 ± 2.0 (3)``: mean, standard deviation and n of a line of ``stage_table``, in %."""
    value, spread = line.get(score), line.get(f"{score}_sd")
    if value is None or value != value:
        return MISSING
    if spread is None or spread != spread:
        return f"{100 * value:.1f}"
    return f"{100 * value:.1f} ± {100 * spread:.1f}" + (f" ({line['n']})" if with_n else "")
