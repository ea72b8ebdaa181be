"""Rows of methods: which rows count, what their methods are called, and their mean scores.

Tables, figures and tests by document all read result rows through :func:`method_rows` or :func:`finished_rows`, so that
a method has the same rows and the same name everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kdh_ray.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

# Kinds of rows, as rows store them.
TRIAL = "trial"
STEP = "step"
REPLAY = "searcher"
MEMBER = "member"
STUDENT = "student"
TEACHER = "teacher"
BASELINE = "baseline"
KINDS = (STUDENT, TEACHER, BASELINE)
NO_METHOD = (TRIAL, STEP, REPLAY, MEMBER)
"""Kinds of rows that are not the result of a method: trials of a search, stages on the way to a method's own stage,
searchers on replayed trials, and the models that a stage with several members is the mean of."""
GROUP = ("protocol", "size", "experiment", "variant", "stage", "kind")
"""Columns that rows of one method share. With the same seed as well, they are the same run, repeated."""
REPEATED = (*GROUP, "method", "pair", "seed", "machine")
"""Columns whose values the runs of a repetition share."""
SETTINGS = ("protocol", "size")
"""Columns within which scores compare."""
SIZES = ("small", "medium", "large")
METRIC_NAMES = {"f1_micro": "micro F1", "f1_blue": "F1 (BLUE)", "f1_macro": "macro F1", "f1_samples": "samples F1"}
_MICRO_F1 = "f1_micro"


def method_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of methods, each seed's last run, by protocol, pair and size.

    Args:
        frame: From ``load_runs`` or ``normalise_rows``.

    Returns:
        The rows with ``method`` as it is shown (see :func:`method_names`), ``study_method`` as the row has it (missing
        outside studies), and ``official``: the test score in the protocol's official metric, a fraction.
    """
    rows = _in_reading_order(frame[~is_repeated(frame) & ~frame["kind"].isin(NO_METHOD)])
    return rows.assign(study_method=rows["method"], method=method_names(rows), official=official_scores(rows))


def finished_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the finished rows of methods that have a test score, as ``score`` (a fraction).

    Where two experiments of a size have a method of one name, the name is followed by the experiment.

    Args:
        frame: From ``load_runs`` or ``normalise_rows``.

    Raises:
        DataError: If there is no such row.
    """
    rows = method_rows(frame)
    rows = rows[(rows["status"] == "ok") & rows["official"].notna()].assign(score=lambda own: own["official"])
    if rows.empty:
        raise DataError("no finished row has a test score")
    shared = rows.groupby([*SETTINGS, "method"], dropna=False)["experiment"].transform("nunique") > 1
    clashing = rows["method"].isin(rows.loc[shared, "method"])
    return rows.assign(method=rows["method"].where(~clashing, rows["method"] + ", " + rows["experiment"].astype(str)))


def is_repeated(frame: pd.DataFrame) -> pd.Series[bool]:
    """Return which finished rows a later one replaces: the same method on the same data with the same seed."""
    counted = is_counted(frame)
    return counted & frame[list(REPEATED)].assign(counted=counted).duplicated(keep="last")


def is_counted(frame: pd.DataFrame) -> pd.Series[bool]:
    """Return which rows are finished and have a seed: without one, two rows may be two seeds."""
    return (frame["status"] == "ok") & ~frame["kind"].isin(NO_METHOD) & frame["seed"].notna()


def method_names(rows: pd.DataFrame) -> pd.Series[str]:
    """Return the name of each row's method.

    A row of a study names its method; where the study has several pairs of encoders, the pair follows. Any other row's
    method is its stage, with its variant in brackets. Rows of a study without a pair are never those of a named pair.
    """
    stages, variants = rows["stage"].astype(str), rows["variant"]
    names = stages.where(variants.isna(), stages + " (" + variants.astype(str) + ")")
    own, of_study = rows["method"].astype(str), rows["method"].notna()
    if rows.loc[of_study, "pair"].nunique(dropna=False) > 1:
        own = own.where(rows["pair"].isna(), own + ", " + rows["pair"].astype(str))
    return own.where(of_study, names)


def official_scores(frame: pd.DataFrame) -> pd.Series[float]:
    """Return each row's test score in its protocol's official metric; micro F1 where the row names no metric."""
    import pandas as pd

    scores = pd.Series(float("nan"), index=frame.index)
    metrics = frame["metric"].where(frame["metric"].notna(), _MICRO_F1)
    for metric in metrics.unique():  # rows of several protocols have several official metrics
        column = f"test_{metric}"
        if column in frame:
            scores = scores.where(metrics != metric, pd.to_numeric(frame[column], errors="coerce"))
    return scores


def metric_name(rows: pd.DataFrame) -> str:
    """Return the name of the official metric that all rows share, such as ``micro F1``."""
    metrics = rows["metric"].dropna().unique().tolist()
    return METRIC_NAMES.get(metrics[0], metrics[0]) if len(metrics) == 1 else METRIC_NAMES[_MICRO_F1]


def score_title(rows: pd.DataFrame, score: str) -> str:
    """Return the name of a column of scores: ``test micro F1``; of ``official``, all official metrics of the rows."""
    metrics = rows["metric"].fillna(_MICRO_F1).unique().tolist() if score == "official" else [score]
    return "test " + " or ".join(
        METRIC_NAMES.get(name, name) for name in (each.removeprefix("test_") for each in metrics)
    )


def means_over_seeds(
    rows: pd.DataFrame, by: Sequence[str], scores: Sequence[str], counted: pd.Series[bool] | None = None
) -> pd.DataFrame:
    """Return means and standard deviations over the rows of each group, a line per group in the order of the rows.

    Args:
        rows: One row per seed.
        by: Columns that make a group.
        scores: Columns to average; text counts as missing.
        counted: Which rows enter the means; all if None. A group of which no row counts is a line with n = 0.

    Returns:
        The columns ``by``, ``n`` (rows counted), and for each score its mean and, as ``NAME_sd``, the sample standard
        deviation, sqrt(sum((x - mean)^2) / (n - 1)); NaN where n < 2. Both are in the unit of the column.
    """
    import pandas as pd

    lines = []
    rows = rows.assign(counted=True if counted is None else counted)
    for key, group in rows.groupby(list(by), sort=False, dropna=False):
        used = group[group["counted"]]  # (n, n_columns), a row per seed
        line = {**dict(zip(by, key, strict=True)), "n": len(used)}
        for name in scores:
            values = pd.to_numeric(used[name], errors="coerce")
            line |= {name: values.mean(), f"{name}_sd": values.std(ddof=1)}
        lines.append(line)
    return pd.DataFrame(lines)


def ranked_methods(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the mean score of each method, best first.

    Where means are the same to a tenth of a point, as they are shown, the method with more seeds comes first.

    Args:
        rows: From :func:`finished_rows`.

    Returns:
        ``method``, ``kind``, ``n``, ``score`` and ``score_sd`` (see :func:`means_over_seeds`), ``lowest`` and
        ``highest``, all four as fractions.
    """
    groups = rows.groupby("method", sort=False)
    table = means_over_seeds(rows, ["method"], ["score"])
    table.insert(1, "kind", [next(iter(own["kind"].dropna()), "") for _, own in groups])
    table = table.assign(lowest=groups["score"].min().to_numpy(), highest=groups["score"].max().to_numpy())
    table = table.sort_values("score", ascending=False, kind="stable")
    shown = table.assign(score=(100 * table["score"]).round(1))  # a tenth of a point
    order = shown.sort_values(["score", "n"], ascending=False, kind="stable").index
    return table.loc[order].reset_index(drop=True)


def sizes(rows: pd.DataFrame) -> list[str]:
    """Return the sizes of the training split that the rows have, small first."""
    return sorted(rows["size"].dropna().unique().tolist(), key=size_order)


def size_order(size: Any) -> int:
    """Return the position of a size among :data:`SIZES`; unknown sizes follow."""
    return SIZES.index(size) if size in SIZES else len(SIZES)


def largest_size(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the largest size at which several methods compare, else of the largest size.

    The next size of an unfinished study begins with a single method, which compares with nothing yet.
    """
    if not rows["size"].notna().any():
        return rows
    methods = rows.groupby("size")["method"].nunique()
    compared = [size for size in sizes(rows) if methods[size] > 1]
    return rows[rows["size"] == (compared or sizes(rows))[-1]]


def seed_name(seed: Any) -> Any:
    """Return a seed as it was set: pandas turns whole numbers into floats where a row of the column has none."""
    return int(seed) if isinstance(seed, float) and seed.is_integer() else seed


def _in_reading_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Return rows by protocol and pair, each as they first appear, and by size, small first; a study runs by seed."""
    import pandas as pd

    first_seen = {name: pd.factorize(frame[name])[0] for name in ("protocol", "pair")}
    order = pd.DataFrame({**first_seen, "size": [size_order(size) for size in frame["size"]]})
    return frame.iloc[order.sort_values(["protocol", "pair", "size"], kind="stable").index]
