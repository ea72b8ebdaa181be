"""Figures of one search at work: where the particles flew, and which worker was busy when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kdh_ray.errors import DataError, UserError
from kdh_ray.report.figures.drawing import MUTED, SERIES, Plot, canvas, figure, legend, log_scale
from kdh_ray.report.figures.search import importances
from kdh_ray.results.selections import best_search, is_log, settings, short, trials

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

STATES = {"ok": SERIES[0], "stopped": MUTED, "failed": SERIES[1]}
_MOST_PATHS = 12


@figure("swarm", "The swarm in its two most important settings")
def swarm(frame: pd.DataFrame) -> Plot:
    """Every position that was tried, joined in each particle's order, and each particle's personal best."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    everything = trials(frame)
    rows, words = best_search(everything)
    rows = rows[rows["particle"].notna() & rows["score"].notna()]
    if rows.empty:
        raise DataError("no trial says which particle it was: the searcher was no swarm")
    names = [name for name in settings(rows) if is_numeric_dtype(rows[name]) and not is_bool_dtype(rows[name])]
    if len(names) < 2:
        raise DataError("fewer than two settings that are numbers were searched")
    across, up = _most_important(everything, names)
    drawing, (axes,) = canvas(3.4)
    paths = rows.groupby("particle")
    for number, (_, path) in enumerate(paths):
        colour = SERIES[number % len(SERIES)] if len(paths) <= _MOST_PATHS else MUTED
        axes.plot(path[across], path[up], color=colour, linewidth=0.7, alpha=0.45)
        axes.scatter(path[across], path[up], s=9, color=colour, alpha=0.7, linewidths=0)
        best = path.nlargest(1, "score").iloc[0]
        named: dict[str, Any] = {"label": "personal best of a particle"} if number == 0 else {}
        axes.scatter(best[across], best[up], s=75, marker="*", color=colour, **named)
    found = rows.nlargest(1, "score").iloc[0]
    axes.scatter(
        found[across], found[up], s=190, marker="o", facecolors="none", edgecolors=SERIES[1], linewidths=1.6,
        label="best of all",
    )  # fmt: skip
    _scale(axes, rows, across, up)
    legend(drawing, axes)
    text = (
        f"{len(paths)} particles tried {len(rows)} positions. The best, with {100 * found['score']:.1f} % on"
        f" validation, lies at {short(across)} {found[across]:.3g} and {short(up)} {found[up]:.3g} (circle). Lines join"
        f" a particle's positions in time; stars are personal bests.{words}"
    )
    columns = ["particle", "trial", "score", across, up]
    return Plot(text, rows.sort_values(["particle", "trial"])[columns].rename(columns=short), drawing)


def _most_important(rows: pd.DataFrame, names: list[str]) -> list[str]:
    """Two settings; those with the most values where importances can't be told."""
    try:
        order = [name for name in importances(rows).index if name in names]
    except UserError:
        order = rows[names].nunique().sort_values(ascending=False).index.tolist()
    return order[:2]


def _scale(axes: Axes, rows: pd.DataFrame, across: str, up: str) -> None:
    if is_log(rows[across]):
        log_scale(axes, "x")
    if is_log(rows[up]):
        log_scale(axes, "y")
    axes.set_xlabel(short(across))
    axes.set_ylabel(short(up))


@figure("workers", "Which worker was busy when")
def workers(frame: pd.DataFrame) -> Plot:
    """A bar a trial on its worker's line, from its start on, as long as it trained."""
    rows, words = best_search(trials(frame))
    rows = rows[rows["worker"].astype(str).str.len().gt(0) & rows["worker"].notna() & rows["started"].notna()]
    if rows.empty:
        raise DataError("no trial says which worker it ran on and when")
    first = rows["started"].min()
    order = rows.groupby("worker")["started"].min().sort_values().index.tolist()
    table = rows.assign(
        line=rows["worker"].map(order.index),
        start=(rows["started"] - first).dt.total_seconds() / 60,
        minutes=rows["seconds"] / 60,
    )
    drawing, (axes,) = canvas(1.3 + 0.24 * len(order))
    for status, colour in STATES.items():
        own = table[table["status"] == status]
        if len(own):
            axes.barh(
                own["line"], own["minutes"], left=own["start"], height=0.6, color=colour, label=_WORDS[status],
                edgecolor="none", alpha=0.85,
            )  # fmt: skip
    axes.set_yticks(range(len(order)), [f"worker {number + 1}" for number in range(len(order))])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("minutes since the search began")
    legend(drawing, axes, columns=3)
    whole = (table["start"] + table["minutes"]).max()
    busy = table["minutes"].sum() / (whole * len(order)) if whole else 0.0
    counts = ", ".join(f"{(table['status'] == status).sum()} {state}" for status, state in _WORDS.items())
    text = (
        f"{len(order)} worker{'' if len(order) == 1 else 's'} ran {len(table)} trials in {whole:.1f} minutes ({counts})"
        f" and trained {100 * busy:.0f} % of that time.{words}"
    )
    columns: list[Any] = ["worker", "trial", "status", "start", "minutes"]
    names = {"start": "start, in minutes"}
    return Plot(text, table.sort_values(["line", "start"])[columns].rename(columns=names), drawing)


_WORDS = {"ok": "ran to the end", "stopped": "stopped early", "failed": "failed"}
