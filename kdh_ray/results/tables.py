"""Frames of rows -> frames that people read: means over seeds, with their spread.

A table holds numbers; ``kdh_ray.results.render`` turns them into text. Results of different protocols don't compare:
they stand in lines of their own, and the best is marked within one protocol and size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kdh_ray.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

SCORES = ("test_f1_micro", "test_f1_macro", "test_precision_micro", "test_recall_micro", "official")
COSTS = ("parameters", "seconds", "documents_per_second")
GROUP = ("protocol", "size", "experiment", "variant", "stage", "kind")
"""What makes two rows repetitions of one thing, if they differ in nothing but seed and run."""
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
