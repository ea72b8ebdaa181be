"""Searchers on replayed trials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdh_ray.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_REGRET = "regret_at_"


def searchers(frame: pd.DataFrame) -> pd.DataFrame:
    """Searchers on replayed trials: :func:`regrets` in words, the best searcher of each table first.

    Returns:
        ``table``, ``searcher``, ``n`` and, as ``mean ± sd``, the regret at each number of trials. ``attrs["best"]``
        marks the lowest of each table.

    Raises:
        DataError: See :func:`regrets`.
    """
    import pandas as pd

    lines, best = [], []
    for table, group in regrets(frame).groupby("table", sort=False):
        lowest = group["regret"] == group.groupby("trials")["regret"].transform("min")
        for searcher, own in group.assign(lowest=lowest).groupby("searcher", sort=False):
            cells = {
                f"regret at {line['trials']}": f"{line['regret']:.3f}"
                + (f" ± {line['sd']:.3f}" if line["n"] > 1 else "")
                for line in own.to_dict("records")
            }
            lines.append({"table": table, "searcher": searcher, "n": own["n"].max(), **cells})
            best.append([False, False, False, *own["lowest"].tolist()])
    found = pd.DataFrame(lines)
    caption = "mean regret ± standard deviation over n seeds; 0: the best of the table's trials, 1: their median"
    found.attrs |= {"best": best, "caption": caption}
    return found


def regrets(frame: pd.DataFrame) -> pd.DataFrame:
    """What searchers had found after so many replayed trials.

    Args:
        frame: From ``load_runs``; rows of ``experiments.searchers``.

    Returns:
        ``table``, ``searcher``, ``trials``, ``n`` seeds, mean ``regret`` (0: the best trial, 1: the median), ``sd``,
        and ``low`` and ``high`` (Student's 95 % interval, not below 0); searchers by their last regret.

    Raises:
        DataError: If there is no such row.
    """
    import pandas as pd

    from kdh_ray.evaluation.statistics import student_interval

    known = [name for name in map(str, frame) if name.startswith(_REGRET) and frame[name].notna().any()]
    budgets = sorted(int(name.removeprefix(_REGRET)) for name in known)
    if not budgets:
        raise DataError("no row has a searcher's regret: run experiments.searchers")
    lines = []
    for table, rows in frame[frame[known].notna().any(axis=1)].groupby("pair", sort=False):
        groups = rows.groupby("method")
        for searcher in groups[f"{_REGRET}{budgets[-1]}"].mean().sort_values(kind="stable").index:
            for budget in budgets:
                values = groups.get_group(searcher)[f"{_REGRET}{budget}"].dropna()
                low, high = student_interval(values.to_numpy())
                lines.append(
                    {"table": table, "searcher": searcher, "trials": budget, "n": len(values), "regret": values.mean(),
                     "sd": values.std(ddof=1), "low": max(0.0, low) if low == low else low, "high": high}
                )  # fmt: skip
    return pd.DataFrame(lines)
