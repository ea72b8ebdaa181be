"""What figures read of result rows: finished results with a score and a name, and trials of searches."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kdh_ray.errors import DataError
from kdh_ray.results.tables import (
    GROUP,
    METRIC_NAMES,
    NO_METHOD,
    is_repeated,
    method_names,
    official_scores,
    size_order,
)  # fmt: skip

if TYPE_CHECKING:
    import pandas as pd

TRIAL = "trial"


def results(frame: pd.DataFrame) -> pd.DataFrame:
    """Finished rows that are no trials, with ``score`` (the protocol's official test score) and ``method``.

    A method's name is its stage and variant, and its experiment where two experiments of a size share the rest. Where a
    method was run more than once with a seed at a size, the last one counts.

    Raises:
        DataError: If there is none.
    """
    frame = frame[~is_repeated(frame)]
    rows = frame.assign(**{name: None for name in (*GROUP, "metric", "seed", "status") if name not in frame})
    rows = rows.assign(score=official_scores(rows), method=method_names(rows))
    rows = rows[(rows["status"] == "ok") & ~rows["kind"].isin(NO_METHOD) & rows["score"].notna()]
    if rows.empty:
        raise DataError("no finished row has a test score")
    shared = rows.groupby(["protocol", "size", "method"], dropna=False)["experiment"].transform("nunique") > 1
    clashing = rows["method"].isin(rows.loc[shared, "method"])
    return rows.assign(method=rows["method"].where(~clashing, rows["method"] + ", " + rows["experiment"].astype(str)))


def largest(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the largest size that has several methods to compare, or else of the largest size.

    A study under way begins its next size with a single one.
    """
    if not rows["size"].notna().any():
        return rows
    methods = rows.groupby("size")["method"].nunique()
    compared = [size for size in sizes(rows) if methods[size] > 1]
    return rows[rows["size"] == (compared or sizes(rows))[-1]]


def sizes(rows: pd.DataFrame) -> list[str]:
    """Sizes of the training split that the rows have, small first."""
    return sorted(rows["size"].dropna().unique().tolist(), key=size_order)


def metric_name(rows: pd.DataFrame) -> str:
    """``micro F1``, or what the protocol's official metric is called."""
    metrics = rows["metric"].dropna().unique().tolist()
    return METRIC_NAMES.get(metrics[0], metrics[0]) if len(metrics) == 1 else "micro F1"


def means(rows: pd.DataFrame) -> pd.DataFrame:
    """A line a method, best first: method, kind, n, and mean, sd, lowest and highest score in %.

    Of means that are the same as they are shown, to a tenth of a point, that of more seeds comes first.
    """
    import pandas as pd

    lines = [
        {
            "method": method,
            "kind": next(iter(group["kind"].dropna()), ""),
            "n": len(group),
            "mean": 100 * group["score"].mean(),
            "sd": 100 * group["score"].std(ddof=1),
            "lowest": 100 * group["score"].min(),
            "highest": 100 * group["score"].max(),
        }
        for method, group in rows.groupby("method", sort=False)
    ]
    table = pd.DataFrame(lines).sort_values("mean", ascending=False, kind="stable")
    shown = table.assign(mean=table["mean"].round(1)).sort_values(["mean", "n"], ascending=False, kind="stable")
    return table.loc[shown.index].reset_index(drop=True)


def trials(frame: pd.DataFrame) -> pd.DataFrame:
    """Trials with ``search`` (what they were a part of), ``score`` on validation, ``curve`` and ``ended``, by number.

    Raises:
        DataError: If there is none.
    """
    import pandas as pd

    if "kind" not in frame or not (frame["kind"] == TRIAL).any():
        raise DataError("there are no trials of a search among the rows")
    rows = frame[frame["kind"] == TRIAL].dropna(axis="columns", how="all")
    wanted = (
        "validation_f1_micro",
        "curve",
        "seconds",
        "started",
        "worker",
        "searcher",
        "epochs_run",
        "particle",
        "trial",
    )
    rows = rows.assign(**{name: None for name in wanted if name not in rows})
    rows = rows.astype({name: "Int64" for name in ("trial", "particle") if rows[name].notna().any()})
    own = pd.to_numeric(rows["score"]) if "score" in rows else None
    score = pd.to_numeric(rows["validation_f1_micro"])
    started = pd.to_datetime(rows["started"], utc=True, format="ISO8601")
    seconds = pd.to_numeric(rows["seconds"]).fillna(0.0)
    return rows.assign(
        search=rows["run_id"].astype(str).str.replace(r"-trial-\d+$", "", regex=True),
        score=score if own is None else own.fillna(score),
        curve=rows["curve"].map(_list),
        seconds=seconds,
        started=started,
        ended=started + pd.to_timedelta(seconds, unit="s"),
    ).sort_values(["search", "trial"], kind="stable")


def objective_name(rows: pd.DataFrame) -> str:
    """``micro F1``, or what the trials' searcher was told to raise."""
    found = rows["objective"].dropna().unique().tolist() if "objective" in rows else []
    return METRIC_NAMES.get(found[0], str(found[0])) if len(found) == 1 else "micro F1"


def best_search(rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The trials of the search that found the best score, and words that say so where there are several searches."""
    searches = rows["search"].unique()
    scored = rows[rows["score"].notna()]
    if scored.empty:
        raise DataError("no trial has a score")
    chosen = scored.nlargest(1, "score")["search"].iloc[0]
    words = f" Of {len(searches)} searches, the one with the best score: {chosen}." if len(searches) > 1 else ""
    return rows[rows["search"] == chosen], words


def settings(rows: pd.DataFrame) -> list[str]:
    """Columns of the settings that differ between trials of a search, those of the run aside."""
    fixed = ("config_data.", "config_job.", "config_cache", "config_baselines.", "config_seed")
    names = [name for name in map(str, rows) if name.startswith("config_") and not name.startswith(fixed)]
    return [name for name in names if rows.groupby("search")[name].nunique().max() > 1]


def short(setting: str) -> str:
    """``config_loss.alpha`` to ``loss.alpha``."""
    return setting.removeprefix("config_")


def is_log(values: pd.Series[Any]) -> bool:
    """Whether positive numbers span so much that a logarithmic axis shows them better."""
    return bool(values.min() > 0 and values.max() / values.min() > 20)


def _list(value: Any) -> list[float]:
    """A row keeps a sequence as JSON."""
    found = json.loads(value) if isinstance(value, str) else value
    return list(found) if isinstance(found, list | tuple) else []
