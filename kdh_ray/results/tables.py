"""Frames of rows -> frames that people read: means over seeds, with their spread.

A table holds numbers; ``kdh_ray.results.render`` turns them into text. Results of different protocols don't compare:
they stand in lines of their own, and the best is marked within one protocol and size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kdh_ray.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

SCORES = ("test_f1_micro", "test_f1_macro", "test_precision_micro", "test_recall_micro", "official")
COSTS = ("parameters", "seconds", "documents_per_second")
GROUP = ("protocol", "size", "experiment", "variant", "stage", "kind")
"""What makes two rows repetitions of one thing, if they differ in nothing but seed and run."""
SIZES = ("small", "medium", "large")
MISSING = "–"
_SETTINGS = ("protocol", "size")


def stage_table(frame: pd.DataFrame, scores: Sequence[str] = SCORES) -> pd.DataFrame:
    """One line a stage or baseline: means over seeds, sample standard deviations (``_sd``), and how many.

    Args:
        frame: From ``load_runs``.
        scores: Columns to average; ``official`` is the test score in the protocol's own metric.

    Returns:
        The columns of :data:`GROUP`, ``metric``, ``n`` (finished rows averaged), ``unfinished`` (failed or stopped
        rows, left out of the means), each score and cost with its ``_sd`` (NaN where n is 1), and ``best``: whether
        this student has the highest official score of its protocol and size. Lines stand in the order of the rows.

    Raises:
        DataError: If the frame is empty.
    """
    import pandas as pd

    if frame.empty:
        raise DataError("there are no result rows to make a table of")
    rows = _with_columns(frame, [*GROUP, "metric", *scores, *COSTS])
    rows["official"] = _official(rows)
    groups = rows.groupby(list(GROUP), sort=False, dropna=False)
    lines = []
    for key, group in groups:
        finished = group[group["status"] == "ok"]
        line = {**dict(zip(GROUP, key, strict=True)), "metric": next(iter(group["metric"].dropna()), None)}
        line |= {"n": len(finished), "unfinished": len(group) - len(finished)}
        for name in (*scores, *COSTS):
            values = pd.to_numeric(finished[name], errors="coerce")
            line |= {name: values.mean(), f"{name}_sd": values.std(ddof=1)}
        lines.append(line)
    table = pd.DataFrame(lines)
    return table.assign(best=_best(table))


def run_table(frame: pd.DataFrame, scores: Sequence[str] = SCORES) -> pd.DataFrame:
    """One line a row, nothing averaged: identity, status, error, scores and costs."""
    identity = ["run_id", *GROUP, "seed", "status", "error", "metric"]
    rows = _with_columns(frame, [*identity, *scores, *COSTS])
    rows["official"] = _official(rows)
    return rows[[*identity, *scores, *COSTS]]


def _with_columns(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """A copy that has every named column, None where the rows have none."""
    return frame.assign(**{name: None for name in names if name not in frame})


def _official(frame: pd.DataFrame) -> pd.Series[float]:
    """Each row's test score in its protocol's official metric; micro F1 where the row names none."""
    import pandas as pd

    result = pd.Series(float("nan"), index=frame.index)
    names = frame["metric"].where(frame["metric"].notna(), "f1_micro")
    for metric in names.unique():
        column = f"test_{metric}"
        if column in frame:
            result = result.where(names != metric, pd.to_numeric(frame[column], errors="coerce"))
    return result


def _best(table: pd.DataFrame) -> pd.Series[bool]:
    """Whether a line is a student with the highest official score among those of its protocol and size.

    Where no row says what kind it is, all lines that have parameters are compared: encoders, not baselines.
    """
    kinds = table["kind"]
    students = kinds == "student" if kinds.notna().any() else table["parameters"].notna()
    candidates = table["official"].where(students)
    highest = candidates.groupby([table[name] for name in _SETTINGS], dropna=False).transform("max")
    return candidates.notna() & (candidates == highest)


def by_size(frame: pd.DataFrame, score: str = "official") -> pd.DataFrame:
    """Methods down, dataset sizes across: ``mean ± sd (n)`` in % of the finished rows.

    Args:
        frame: From ``load_runs``.
        score: A column, or ``official``: the test score in the protocol's own metric.

    Raises:
        DataError: If a method has more than one line of a size, as from two experiments.

    Returns:
        Text columns ``protocol``, ``method`` and the sizes that there are, small first. ``attrs["best"]`` holds, a list
        a line, which cells are the best student's of their protocol and size.
    """
    import pandas as pd

    table = stage_table(frame, tuple(dict.fromkeys(("official", score))))
    table = table.assign(method=_methods(table))
    sizes = [size for size in SIZES if (table["size"] == size).any()]
    lines, best = [], []
    for (protocol, method), group in table.groupby(["protocol", "method"], sort=False, dropna=False):
        cells = {line["size"]: line for line in group.to_dict("records")}
        if len(cells) < len(group):
            raise DataError(f"{method!r} has several lines of one size on {protocol}: choose one experiment first")
        lines.append(
            {"protocol": protocol, "method": method}
            | {size: spread_cell(cells[size], score) if size in cells else MISSING for size in sizes}
        )
        best.append([False, False, *(size in cells and bool(cells[size]["best"]) for size in sizes)])
    result = pd.DataFrame(lines, columns=["protocol", "method", *sizes])
    result.attrs["best"] = best
    return result


def significance(frame: pd.DataFrame, reference: str, score: str = "official") -> pd.DataFrame:
    """Every method against ``reference``, paired by seed, within each protocol and size.

    Holm's correction is over the methods of one protocol and size. Sizes are nested samples of one corpus, so they are
    never pooled.

    Args:
        frame: From ``load_runs``.
        reference: A method: a stage, or ``stage (variant)`` where rows have variants.
        score: A column, or ``official``.

    Returns:
        protocol, size, method, reference, n, difference (of means, as a fraction), p, p_holm, effect (rank-biserial,
        -1..1), and a note where there are too few seeds.

    Raises:
        DataError: If the reference is nowhere, a method has two rows of one seed, or no seed is shared.
    """
    import pandas as pd

    from kdh_ray.evaluation.statistics import compare_over_seeds

    rows = _with_columns(frame, [*GROUP, "metric", score])
    rows["official"] = _official(rows)
    rows = rows.assign(method=_methods(rows))[(rows["status"] == "ok") & rows[score].notna()]
    lines = []
    for (protocol, size), group in rows.groupby(list(_SETTINGS), sort=False, dropna=False):
        if reference not in set(group["method"]):
            continue
        for comparison in compare_over_seeds(_scores_by_seed(group, score), reference):
            line = {"protocol": protocol, "size": size, "method": comparison.method, "reference": reference}
            lines.append(
                line
                | {name: getattr(comparison, name) for name in ("n", "difference", "p", "p_holm", "effect", "note")}
            )
    if not lines:
        raise DataError(f"no protocol and size has {reference!r} and another method to compare with it")
    return pd.DataFrame(lines)


def spread_cell(line: Mapping[Any, Any], score: str, with_n: bool = True) -> str:
    """``82.0 ± 2.0 (3)``: mean, standard deviation and n of a line of ``stage_table``, in %."""
    value, spread = line.get(score), line.get(f"{score}_sd")
    if value is None or value != value:
        return MISSING
    if spread is None or spread != spread:
        return f"{100 * value:.1f}"
    return f"{100 * value:.1f} ± {100 * spread:.1f}" + (f" ({line['n']})" if with_n else "")


def _methods(rows: pd.DataFrame) -> pd.Series[str]:
    """What is compared: a stage, and its variant where it has one."""
    stages, variants = rows["stage"].astype(str), rows["variant"]
    return stages.where(variants.isna(), stages + " (" + variants.astype(str) + ")")


def _scores_by_seed(rows: pd.DataFrame, score: str) -> dict[str, dict[int, float]]:
    repeated = rows[rows.duplicated(["method", "seed"])]
    if len(repeated):
        method, seed = repeated.iloc[0][["method", "seed"]]
        raise DataError(f"{method!r} has more than one row of seed {seed}: choose one experiment first")
    return {
        str(method): {int(seed): float(value) for seed, value in zip(group["seed"], group[score], strict=True)}
        for method, group in rows.groupby("method", sort=False)
    }
