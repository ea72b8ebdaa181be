"""Fronts of searches with several objectives: which trials no other one beats in all of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kdh_ray.errors import DataError
from kdh_ray.evaluation.fronts import hypervolume, non_dominated
from kdh_ray.evaluation.objectives import Cost, Objective, objective_named
from kdh_ray.results.columns import setting_name
from kdh_ray.results.method_rows import TRIAL

if TYPE_CHECKING:
    import pandas as pd


def mark_fronts(frame: pd.DataFrame) -> pd.DataFrame:
    """Return rows with ``on_front``: True or False for trials of searches with several objectives, None for others.

    Args:
        frame: Result rows.
    """
    if "objectives" not in frame or frame["objectives"].isna().all():
        return frame
    import pandas as pd

    on_front = pd.Series(None, index=frame.index, dtype=object)
    for rows, objectives in searches_with_fronts(frame):
        on_front[rows.index] = False
        compared, losses = losses_of(rows, objectives)
        on_front[compared.index[non_dominated(losses)]] = True
    return frame.assign(on_front=on_front)


def searches_with_fronts(frame: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, list[Objective | Cost]]]:
    """Yield the trials of each search with several objectives, and the objectives."""
    rows = frame[(frame["kind"] == TRIAL) & frame["objectives"].notna()] if "objectives" in frame else frame.head(0)
    searches = rows["run_id"].astype(str).str.replace(r"-trial-\d+$", "", regex=True)
    for _, own in rows.groupby(searches, sort=False):
        named = own["objectives"].iloc[0]
        yield own, [objective_named(name) for name in (json.loads(named) if isinstance(named, str) else named)]


def losses_of(rows: pd.DataFrame, objectives: list[Objective | Cost]) -> tuple[pd.DataFrame, Any]:
    """Return the trials of a search that compare, and what each loses in each objective, (n, n_objectives).

    Trials compare that kept their budget and ran to the end; if none did, those that have a score.
    """
    import numpy as np
    import pandas as pd

    names = [each.column for each in objectives]
    numbers = rows.reindex(columns=[*names, "violation"]).apply(pd.to_numeric, errors="coerce")
    losses = numbers[names].to_numpy(dtype=float) * [-each.sign for each in objectives]
    counts = np.isfinite(losses).all(axis=1) & ~(numbers["violation"] > 0).to_numpy()
    ended = counts & (rows["status"] == "ok").to_numpy()
    chosen = ended if ended.any() else counts
    return rows.loc[chosen], losses[chosen]


def front_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the front of each search with several objectives, the best in the first objective first.

    Args:
        frame: From ``load_runs``.

    Returns:
        ``trial``, the objectives as they are shown, and the settings in which the trials differ.

    Raises:
        DataError: If there is no such search.
    """
    import numpy as np
    import pandas as pd

    tables = []
    for rows, objectives in searches_with_fronts(frame):
        compared, losses = losses_of(rows, objectives)
        on_front = np.flatnonzero(non_dominated(losses))
        front = compared.iloc[on_front[np.argsort(losses[on_front, 0], kind="stable")]]
        settings = [str(name) for name in rows if str(name).startswith("config_")]
        shown = {"trial": front["trial"]} | {each.title: front[each.column].map(each.text) for each in objectives}
        shown |= {setting_name(name): front[name] for name in settings if rows[name].astype(str).nunique() > 1}
        tables.append(pd.DataFrame(shown))
    if not tables:
        raise DataError("no search has several objectives")
    return pd.concat(tables, ignore_index=True)


def hypervolumes(losses: Any) -> list[float]:
    """Return the hypervolume of the first, the first two, ... trials, as a share of the box of all trials, 0 to 1.

    The box spans from the best to the worst value that any trial has of each objective.

    Args:
        losses: What each trial loses in each objective, (n, n_objectives), in the order in which trials ended.
    """
    import numpy as np

    low, high = losses.min(axis=0), losses.max(axis=0)
    scaled = (losses - low) / np.where(high > low, high - low, 1.0)
    return [hypervolume(scaled[: count + 1], np.ones(losses.shape[1])) for count in range(len(scaled))]
