"""Trials of searches as result rows: their scores, learning curves and settings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kdh_ray.errors import DataError
from kdh_ray.evaluation.objectives import MICRO_F1, OBJECTIVES, Objective
from kdh_ray.results.columns import normalise_rows
from kdh_ray.results.method_rows import TRIAL

if TYPE_CHECKING:
    import pandas as pd

_OF_THE_RUN = ("config_data.", "config_job.", "config_cache", "config_baselines.", "config_seed")


def trial_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the trials of all searches, by search and number.

    Args:
        frame: From ``load_runs`` or ``normalise_rows``.

    Returns:
        The rows with ``search`` (run id of the search), ``score`` on validation (a fraction, or a loss), ``merit`` (the
        score, negated where less is better; NaN for a score of some folds where another trial has one of all),
        ``curve`` (a list with a score per epoch), ``seconds``, ``started`` and ``ended`` (UTC).

    Raises:
        DataError: If there is no trial.
    """
    import pandas as pd

    rows = frame[frame["kind"] == TRIAL]
    if rows.empty:
        raise DataError("there are no trials of a search among the rows")
    # Trials have no test scores: without those columns, which a study's frame has, pandas works faster.
    rows = normalise_rows(rows.dropna(axis="columns", how="all"))
    # pandas made these floats, since rows of other kinds have none; trials that have none at all stay as they are.
    rows = rows.astype({name: "Int64" for name in ("trial", "particle") if rows[name].notna().any()})
    seconds = pd.to_numeric(rows["seconds"]).fillna(0.0)
    started = pd.to_datetime(rows["started"], utc=True, format="ISO8601")
    # The objective that the searcher saw; older rows only have micro F1.
    score = pd.to_numeric(rows["score"]).fillna(pd.to_numeric(rows["validation_f1_micro"]))
    return rows.assign(
        search=_searches(rows),
        score=score,
        merit=_comparable(rows, score) * rows["objective"].map(lambda name: OBJECTIVES.get(name, MICRO_F1).sign),
        curve=rows["curve"].map(_curve),
        seconds=seconds,
        started=started,
        ended=started + pd.to_timedelta(seconds, unit="s"),
    ).sort_values(["search", "trial"], kind="stable")


def _comparable(rows: pd.DataFrame, score: pd.Series[float]) -> pd.Series[float]:
    """Return the scores without those of trials that only some folds judged, in searches where all judged another."""
    import pandas as pd

    if "folds_run" not in rows or "config_data.folds" not in rows:
        return score
    judged, folds = (pd.to_numeric(rows[name], errors="coerce") for name in ("folds_run", "config_data.folds"))
    is_whole = ~(judged < folds)
    return score.where(is_whole | ~is_whole.groupby(_searches(rows)).transform("any"))


def _searches(rows: pd.DataFrame) -> pd.Series[str]:
    """Return the search of each trial: its run id, followed by its start where a configuration was searched twice."""
    names = rows["run_id"].astype(str).str.replace(r"-trial-\d+(?=@|$)", "", regex=True)
    if "search_started" not in rows:
        return names
    started = rows["search_started"]
    is_repeated = started.groupby(names).transform("nunique") > 1
    return names.where(~is_repeated | started.isna(), names + ", started " + started.astype(str))


def shared_objective(rows: pd.DataFrame) -> Objective:
    """Return the objective that all trials share; micro F1 if they name none or several."""
    names = rows["objective"].dropna().unique().tolist()
    return OBJECTIVES.get(names[0], MICRO_F1) if len(names) == 1 else MICRO_F1


def best_search(rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return the trials of the search with the best score, and a sentence that says so where there are several.

    Raises:
        DataError: If no trial has a score.
    """
    searches = rows["search"].unique()
    scored = rows[rows["score"].notna()]
    if scored.empty:
        raise DataError("no trial has a score")
    chosen = scored.nlargest(1, "merit")["search"].iloc[0]
    sentence = f" Of {len(searches)} searches, this is the one with the best score: {chosen}."
    return rows[rows["search"] == chosen], sentence if len(searches) > 1 else ""


def searched_settings(rows: pd.DataFrame) -> list[str]:
    """Return the columns of settings that differ between the trials of a search, without those of the whole run."""
    names = [name for name in map(str, rows) if name.startswith("config_") and not name.startswith(_OF_THE_RUN)]
    return [name for name in names if rows.groupby("search")[name].nunique().max() > 1]


def _curve(value: Any) -> list[float]:
    """Parse a learning curve, which rows store as JSON."""
    scores = json.loads(value) if isinstance(value, str) else value
    return list(scores) if isinstance(scores, list | tuple) else []
