"""Figures of how fast searchers find good settings: in the searches of a run, and on replayed trials.

Scores are validation scores at the epoch that a trial reached; a search never sees the test split.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdh_ray.errors import DataError
from kdh_ray.report.figures.drawing import Plot, canvas, cut, figure, legend, look
from kdh_ray.results.search_trials import shared_objective, trial_rows
from kdh_ray.results.tables import regrets

if TYPE_CHECKING:
    import pandas as pd


@figure("convergence", "How fast searches find good settings")
def convergence(frame: pd.DataFrame) -> Plot:
    """Draw the best validation score so far against ended trials and compute: each search, and each searcher's mean."""
    rows = progress(trial_rows(frame))
    objective = shared_objective(rows)
    drawing, axes = canvas(4.8, rows=2, sharey=True)
    shown = []
    for index, (name, own) in enumerate(rows.groupby("name", sort=False)):
        searches = own.groupby("search", sort=False)
        line = {**look(index), "drawstyle": "steps-post"}
        for panel, across in zip(axes, ("trials", "minutes"), strict=True):
            mean = _mean(own, across)
            panel.plot(mean.index, mean, **line, markersize=3.5, markevery=0.2, label=name)
            if len(searches) > 1:
                for _, search in searches:
                    panel.plot(search[across], search["best"], **{**line, "marker": ""}, linewidth=0.7, alpha=0.35)
        ends = searches["best"].last()
        ends = ends / objective.scale
        low, high = objective.text(ends.min()), objective.text(ends.max())
        several = f" (mean of {len(ends)} searches, {low} to {high})" if len(ends) > 1 else ""
        shown.append(f"{name} {objective.with_unit(ends.mean())}{several}")
    axes[0].locator_params(axis="x", integer=True)
    axes[0].set_xlabel("trials ended")
    axes[1].set_xlabel("minutes of training, all trials together")
    axes[0].set_ylim(*_upper_part(rows))
    drawing.supylabel(f"best validation {objective.title} so far{objective.unit}", fontsize=8.5)
    legend(drawing, axes[0])
    text = (
        f"Best validation score at the end: {'; '.join(shown)}. Trials stopped early count with the score that they"
        " reached. Thin lines are single searches; lower scores of the first trials may be below the visible range."
    )
    return Plot(text, rows[["name", "searcher", "search", "trials", "minutes", "best"]], drawing)


def _mean(rows: pd.DataFrame, across: str) -> pd.Series[float]:
    """Return the mean over searches of the best so far, from where all have begun to where the first one ends."""
    lines = rows.pivot_table(index=across, columns="search", values="best", aggfunc="max").ffill()
    common = lines.loc[: rows.groupby("search")[across].max().min()].dropna()  # (n_points, n_searches)
    return common.mean(axis=1)


def _upper_part(rows: pd.DataFrame) -> tuple[float, float]:
    """Return limits around the scores that searches have after a third of their trials, up to the best of all.

    The steep rise of the first trials would press the lines, and the differences between searchers, flat.
    """
    late = rows[rows["trials"] > rows.groupby("search")["trials"].transform("max") / 3]
    low, high = late["best"].min(), late["best"].max()
    edge = 0.05 * (high - low) or 1.0
    return low - edge, high + edge


def progress(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a line per ended trial, in the order in which the trials of a search ended.

    Args:
        rows: From ``trial_rows``.

    Returns:
        The rows with ``trials`` (ended so far), ``minutes`` (of training so far), ``best`` (score so far, shares in
        %) and ``name``: the searcher, with the size of the training split where there are several, whose scores don't
        compare.

    Raises:
        DataError: If no trial has a score.
    """
    # Trials run concurrently, so the order in which they ended is not that of their numbers.
    ordered = rows.sort_values(["search", "ended", "trial"], kind="stable")
    groups, objective = ordered.groupby("search", sort=False), shared_objective(rows)
    ordered = ordered.assign(
        searcher=ordered["searcher"].fillna("searcher not named"),
        trials=groups.cumcount() + 1,
        minutes=groups["seconds"].cumsum() / 60,
        best=objective.scale * objective.sign * groups["merit"].cummax(),
    )
    # A failed trial has no score and leaves the best so far as it was.
    ordered["best"] = ordered.groupby("search", sort=False)["best"].ffill()
    several_sizes = ordered["size"].nunique() > 1
    ordered["name"] = ordered["searcher"] + (", " + ordered["size"].astype(str) if several_sizes else "")
    ordered = ordered[ordered["best"].notna()]
    if ordered.empty:
        raise DataError("no trial has a score")
    return ordered.reset_index(drop=True)


@figure("regret", "Regret of searchers after each number of trials")
def regret(frame: pd.DataFrame) -> Plot:
    """Draw the mean regret of each searcher on replayed trials with its interval, a panel per table of trials."""
    table = regrets(frame)
    names = table["table"].unique().tolist()
    searchers = table["searcher"].unique().tolist()
    drawing, axes = canvas(0.4 + 0.08 * len(searchers) + 2.4 * len(names), rows=len(names), sharex=True)
    for panel, name in zip(axes, names, strict=True):
        for index, searcher in enumerate(searchers):
            own = table[(table["table"] == name) & (table["searcher"] == searcher)]
            reach = [(own["regret"] - own["low"]).fillna(0), (own["high"] - own["regret"]).fillna(0)]
            positions = own["trials"] + 0.3 * (index - len(searchers) / 2)  # so that bars don't cover each other
            panel.errorbar(positions, own["regret"], yerr=reach, label=searcher, capsize=1.5, markersize=3.5,
                           elinewidth=0.9, **look(index))  # fmt: skip
        panel.set_title(cut(name))
        panel.set_ylim(bottom=0)
    axes[-1].set_xlabel("trials")
    drawing.supylabel("mean regret", fontsize=8.5)
    legend(drawing, axes[0])
    last = table[table["trials"] == table["trials"].max()]
    shown = "; ".join(
        f"on {name} "
        + ", ".join(
            f"{line['searcher']} {line['regret']:.3f}" for line in last[last["table"] == name].to_dict("records")
        )
        for name in names
    )
    text = (
        f"Regret after {table['trials'].max()} trials, {shown}. 0 is the best of the table's trials, 1 their median;"
        f" bars are Student's 95 % intervals over {table['n'].max()} seeds, cut at 0."
    )
    return Plot(text, table, drawing)
