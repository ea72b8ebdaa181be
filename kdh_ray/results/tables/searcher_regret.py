"""Searchers compared on replayed trials: regret after so many trials.

The regret of a searcher is 0 when it has found the best trial of a table, and 1 at the table's median trial.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdh_ray.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_REGRET = "regret_at_"


def searchers(frame: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`regrets` as text, a line per table and searcher, the best searcher of each table first.

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
    result = pd.DataFrame(lines)
    caption = "mean regret ± standard deviation over n seeds; 0: the best of the table's trials, 1: their median"
    result.attrs |= {"best": best, "caption": caption}
    return result


def regrets(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the mean regret of each searcher after each number of replayed trials.

    Args:
        frame: From ``load_runs`` or ``normalise_rows``: rows with ``regret_at_N`` after N trials, the searcher as
            ``method`` and the table of trials as ``pair``.

    Returns:
        ``table``, ``searcher``, ``trials``, ``n`` (seeds), mean ``regret``, ``sd``, and ``low`` and ``high`` (Student's
        95 % interval of the mean, not below 0). Searchers are ordered by their regret after the most trials.

    Raises:
        DataError: If no row has a regret.
    """
    import pandas as pd

    from kdh_ray.evaluation.statistics import student_interval

    columns = [name for name in map(str, frame) if name.startswith(_REGRET) and frame[name].notna().any()]
    budgets = sorted(int(name.removeprefix(_REGRET)) for name in columns)
    if not budgets:
        raise DataError(f"no row has a searcher's regret on replayed trials ({_REGRET}N)")
    lines = []
    # Replays store the table as the pair and the searcher as the method.
    for table, rows in frame[frame[columns].notna().any(axis=1)].groupby("pair", sort=False):
        groups = rows.groupby("method")
        for searcher in groups[f"{_REGRET}{budgets[-1]}"].mean().sort_values(kind="stable").index:
            for budget in budgets:
                values = groups.get_group(searcher)[f"{_REGRET}{budget}"].dropna()  # one per seed
                low, high = student_interval(values.to_numpy())
                lines.append(
                    {
                        "table": table,
                        "searcher": searcher,
                        "trials": budget,
                        "n": len(values),
                        "regret": values.mean(),
                        "sd": values.std(ddof=1),
                        "low": max(0.0, low) if low == low else low,  # NaN, of a single seed, stays NaN
                        "high": high,
                    }
                )
    return pd.DataFrame(lines)
