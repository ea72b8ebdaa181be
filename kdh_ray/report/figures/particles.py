"""Figures of one search: the positions of its particles, and the work of its workers over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kdh_ray.errors import DataError, UserError
from kdh_ray.report.figures.drawing import MUTED, SERIES, Plot, canvas, figure, legend, log_scale, spans_decades
from kdh_ray.report.figures.searched_settings import importances, is_number
from kdh_ray.report.wording import plural
from kdh_ray.results.columns import setting_name
from kdh_ray.results.search_trials import best_search, searched_settings, shared_objective, trial_rows

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

# Status of a trial: colour and words.
STATES = {"ok": (SERIES[0], "ran to the end"), "stopped": (MUTED, "stopped early"), "failed": (SERIES[1], "failed")}
_MOST_COLOURED = 12  # particles; more are drawn in grey


@figure("swarm", "The swarm in its two most important settings")
def swarm(frame: pd.DataFrame) -> Plot:
    """Draw every position that was tried, joined in each particle's order, and each particle's personal best."""
    everything = trial_rows(frame)
    rows, which_search = best_search(everything)
    # Failed trials have a position but no score, so no place in a particle's path.
    rows = rows[rows["particle"].notna() & rows["score"].notna()]
    if rows.empty:
        raise DataError("no trial says which particle it was: the searcher was not a swarm")
    names = [name for name in searched_settings(rows) if is_number(rows[name])]
    if len(names) < 2:
        raise DataError("fewer than two settings that are numbers were searched")
    across, up = _most_important(everything, names)
    drawing, (axes,) = canvas(3.4)
    paths = rows.groupby("particle")
    for number, (_, path) in enumerate(paths):
        colour = SERIES[number % len(SERIES)] if len(paths) <= _MOST_COLOURED else MUTED
        axes.plot(path[across], path[up], color=colour, linewidth=0.7, alpha=0.45)
        axes.scatter(path[across], path[up], s=9, color=colour, alpha=0.7, linewidths=0)
        best = path.nlargest(1, "merit").iloc[0]
        label = "personal best of a particle" if number == 0 else None  # once in the legend
        axes.scatter(best[across], best[up], s=75, marker="*", color=colour, label=label)
    best = rows.nlargest(1, "merit").iloc[0]
    axes.scatter(
        best[across], best[up], s=190, marker="o", facecolors="none", edgecolors=SERIES[1], linewidths=1.6,
        label="best of all",
    )  # fmt: skip
    _scale(axes, rows, across, up)
    legend(drawing, axes)
    reached = shared_objective(rows).with_unit(best["score"])
    text = (
        f"{len(paths)} particles tried {len(rows)} positions. The best, with {reached} on"
        f" validation, is at {setting_name(across)} {best[across]:.3g} and {setting_name(up)} {best[up]:.3g} (circle)."
        f" Lines join a particle's positions in time; stars are personal bests.{which_search}"
    )
    columns = ["particle", "trial", "score", across, up]
    return Plot(text, rows.sort_values(["particle", "trial"])[columns].rename(columns=setting_name), drawing)


def _most_important(rows: pd.DataFrame, names: list[str]) -> list[str]:
    """Return the two settings with the highest importance, or with the most values where that is unknown."""
    try:
        order = [name for name in importances(rows).index if name in names]
    except UserError:
        order = rows[names].nunique().sort_values(ascending=False).index.tolist()
    return order[:2]


def _scale(axes: Axes, rows: pd.DataFrame, across: str, up: str) -> None:
    """Scale and name the axes of two settings."""
    if spans_decades(rows[across]):
        log_scale(axes, "x")
    if spans_decades(rows[up]):
        log_scale(axes, "y")
    axes.set_xlabel(setting_name(across))
    axes.set_ylabel(setting_name(up))


@figure("workers", "Which worker was busy when")
def workers(frame: pd.DataFrame) -> Plot:
    """Draw a bar per trial on its worker's line, from the trial's start to its end."""
    rows, which_search = best_search(trial_rows(frame))
    rows = rows[rows["worker"].astype(str).str.len().gt(0) & rows["worker"].notna() & rows["started"].notna()]
    if rows.empty:
        raise DataError("no trial says which worker it ran on and when")
    first = rows["started"].min()
    # Workers from top to bottom in the order in which they began to work.
    order = rows.groupby("worker")["started"].min().sort_values().index.tolist()
    table = rows.assign(
        line=rows["worker"].map(order.index),
        start=(rows["started"] - first).dt.total_seconds() / 60,
        minutes=rows["seconds"] / 60,
    )
    drawing, (axes,) = canvas(1.3 + 0.24 * len(order))
    for status, (colour, label) in STATES.items():
        own = table[table["status"] == status]
        if len(own):
            axes.barh(
                own["line"], own["minutes"], left=own["start"], height=0.6, color=colour, label=label,
                edgecolor="none", alpha=0.85,
            )  # fmt: skip
    axes.set_yticks(range(len(order)), [f"worker {number + 1}" for number in range(len(order))])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("minutes since the search began")
    legend(drawing, axes, columns=3)
    whole = (table["start"] + table["minutes"]).max()
    busy = table["minutes"].sum() / (whole * len(order)) if whole else 0.0  # share of all workers' time
    counts = ", ".join(f"{(table['status'] == status).sum()} {label}" for status, (_, label) in STATES.items())
    text = (
        f"{plural(len(order), 'worker')} ran {len(table)} trials in {whole:.1f} minutes ({counts})"
        f" and trained {100 * busy:.0f} % of that time.{which_search}"
    )
    columns: list[Any] = ["worker", "trial", "status", "start", "minutes"]
    names = {"start": "start, in minutes"}
    return Plot(text, table.sort_values(["line", "start"])[columns].rename(columns=names), drawing)
