"""Figure of a search with several objectives: its front, and how much of the possible the front covers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdh_ray.errors import DataError
from kdh_ray.evaluation.fronts import non_dominated
from kdh_ray.report.figures.drawing import MUTED, SERIES, Plot, canvas, figure, legend
from kdh_ray.results.fronts import hypervolumes, losses_of, searches_with_fronts
from kdh_ray.results.search_trials import trial_rows

if TYPE_CHECKING:
    import pandas as pd


@figure("front", "Front of several objectives")
def front(frame: pd.DataFrame) -> Plot:
    """Draw the trials of the last search with several objectives by the first two, and the growth of hypervolume."""
    searches = list(searches_with_fronts(trial_rows(frame).sort_values("ended", kind="stable")))
    if not searches:
        raise DataError("no search has several objectives")
    rows, objectives = searches[-1]
    rows, losses = losses_of(rows, objectives)
    if not len(rows):
        raise DataError("no trial has all objectives")
    first, second = objectives[:2]
    table = rows[["trial", *(each.column for each in objectives)]]
    table = table.assign(on_front=non_dominated(losses), hypervolume=hypervolumes(losses))
    drawing, (plane, growth) = canvas(4.8, rows=2)
    best = table[table["on_front"]].sort_values(second.column)
    plane.scatter(table[second.column], table[first.column], s=16, color=MUTED, alpha=0.6, linewidths=0, label="trial")
    plane.plot(best[second.column], best[first.column], color=SERIES[1], marker="o", linestyle="--", label="front")
    plane.xaxis.set_major_formatter(lambda value, _: second.text(value))
    plane.yaxis.set_major_formatter(lambda value, _: first.text(value))
    plane.locator_params(nbins=5)
    plane.set_xlabel(second.title)
    plane.set_ylabel(f"validation {first.title}")
    growth.plot(range(1, len(table) + 1), table["hypervolume"], color=SERIES[1], drawstyle="steps-post")
    growth.set_xlabel("trials ended")
    growth.set_ylabel("hypervolume")
    growth.locator_params(axis="x", integer=True)
    legend(drawing, plane)
    shown = "; ".join(
        f"trial {int(line['trial'])}: {', '.join(each.with_unit(line[each.column]) for each in objectives)}"
        for line in best.to_dict("records")
    )
    text = (
        f"{len(best)} of {len(table)} trials are on the front of {', '.join(each.title for each in objectives)}:"
        f" {shown}. Hypervolume is the share that the front covers of the box from the best to the worst values of all"
        f" trials: {table['hypervolume'].iloc[-1]:.2f} at the end."
    )
    return Plot(text, table.reset_index(drop=True), drawing)
