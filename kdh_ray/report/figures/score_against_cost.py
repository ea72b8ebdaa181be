"""Figures of score against cost: of methods on the test split, and of a search's trials on validation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kdh_ray.errors import DataError
from kdh_ray.report.figures.drawing import MUTED, SERIES, Plot, canvas, figure, legend, look
from kdh_ray.report.figures.scores import ranking
from kdh_ray.results.columns import LATENCY
from kdh_ray.results.method_rows import finished_rows, largest_size, metric_name
from kdh_ray.results.search_trials import best_search, shared_objective, trial_rows

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

MOST_NAMED = 10  # methods with a mark of their own; with more methods, only those on the front have one
METHOD_COSTS = {
    LATENCY: ("median latency of a document, in ms", 1.0),
    "parameters": ("parameters, in millions", 1e-6),
}
"""Columns that hold the cost of a model, the most informative first: title and factor to its unit."""
TRIAL_COSTS = {"latency_ms": ("latency of a document, in ms", 1.0), "parameters": METHOD_COSTS["parameters"]}
_SHAPE = ("parameters", "config_layers", "config_max_tokens")  # settings that change what a model costs to run
_LABEL_GAP = 0.12  # share of a logarithmic axis between two tick labels, so that they don't touch


@figure("cost", "Test score against cost")
def cost(frame: pd.DataFrame) -> Plot:
    """Draw methods by cost and score, and join those that no other method beats in both.

    Where there are many methods, the picture names only those; the data names all.
    """
    rows = largest_size(finished_rows(frame))
    costs = {name: _median_costs(rows, name) for name in METHOD_COSTS}
    name = next((name for name, by_method in costs.items() if by_method.nunique() > 1), None)
    if name is None:
        raise DataError("fewer than two models of different size or latency were measured")
    title, _ = METHOD_COSTS[name]
    table = ranking(rows[rows[name].notna()])
    table = table.assign(cost=table["method"].map(costs[name]))
    table = table.assign(best=not_dominated(table["cost"], -table["mean"]))
    named = table if len(table) <= MOST_NAMED else table[table["best"]]
    others = table.drop(index=named.index)
    drawing, (axes,) = canvas(2.6 + 0.15 * (len(named) + (len(others) > 0)))
    front = table[table["best"]].sort_values("cost")  # (n_front, n_columns), cheapest first
    _draw_methods(axes, front, named, others)
    axes.set_xscale("log")
    axes.margins(x=0.12)
    _tick_values(axes, table["cost"])
    axes.set_xlabel(title)
    axes.set_ylabel(f"test {metric_name(rows)} in %")
    legend(drawing, axes)
    shown = "; ".join(f"{line.method}: {line.cost:.3g}, {line.mean:.1f} %" for line in front.itertuples())
    text = f"No other method both costs less ({title}) and scores higher than: {shown}."
    text += f" The {len(others)} others are grey; the data names them." if len(others) else ""
    return Plot(text, table[["method", "n", "cost", "mean", "sd", "best"]].rename(columns={"cost": title}), drawing)


def _draw_methods(axes: Axes, front: pd.DataFrame, named: pd.DataFrame, others: pd.DataFrame) -> None:
    """Draw the front as steps, named methods in their colours, and the others in grey."""
    axes.plot(front["cost"], front["mean"], color=MUTED, linewidth=1, linestyle="--", drawstyle="steps-post")
    for index, line in enumerate(named.to_dict("records")):
        spread = None if line["n"] < 2 else line["sd"]
        axes.errorbar(line["cost"], line["mean"], yerr=spread, label=line["method"], linestyle="", **look(index))
    if len(others):
        axes.errorbar(
            others["cost"], others["mean"], yerr=others["sd"].fillna(0), label=f"{len(others)} others", linestyle="",
            color=MUTED, marker=".", elinewidth=0.8, zorder=1,
        )  # fmt: skip


def _median_costs(rows: pd.DataFrame, name: str) -> pd.Series[float]:
    """Return the median cost by method, in the title's unit.

    It is rounded to three digits, so that models that differ by a thousandth cost the same.
    """
    medians = METHOD_COSTS[name][1] * rows[rows[name].notna()].astype({name: float}).groupby("method")[name].median()
    return medians.map(lambda value: float(f"{value:.3g}"))


def not_dominated(*losses: pd.Series[Any]) -> list[bool]:
    """Return which lines are on the Pareto front.

    A line is on it if no other line is at least as good in every loss and better in one.

    Args:
        losses: (n_lines) each; less is better.
    """
    import numpy as np

    values = np.stack([loss.to_numpy(dtype=float) for loss in losses], axis=1)  # (n_lines, n_losses)
    as_good = np.all(values[:, None] <= values[None], axis=2)  # (n_lines, n_lines): row against column
    better = np.any(values[:, None] < values[None], axis=2)
    return [not np.any(column) for column in (as_good & better).T]


def _tick_values(axes: Axes, values: pd.Series[Any]) -> None:
    """Put ticks at the values themselves: a short logarithmic axis may not contain any power of ten."""
    from matplotlib.ticker import FixedLocator, NullLocator

    axes.xaxis.set_minor_locator(NullLocator())
    ticks: list[float] = []
    smallest_ratio = (values.max() / values.min()) ** _LABEL_GAP
    for value in sorted(set(values)):
        if not ticks or value > smallest_ratio * ticks[-1]:
            ticks.append(value)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.3g}")


@figure("pareto", "Trials by score and cost (Pareto front)")
def pareto(frame: pd.DataFrame) -> Plot:
    """Draw the trials of a search that ran to the end, and join those that no other beats in both score and cost."""
    rows, which_search = best_search(trial_rows(frame))
    rows = rows[(rows["status"] == "ok") & rows["score"].notna()]
    differ = any(rows[name].nunique(dropna=False) > 1 for name in _SHAPE if name in rows)
    name = next((name for name in TRIAL_COSTS if rows[name].nunique() > 1), None)
    if name is None or not differ:  # two measurements of one latency differ as well
        raise DataError("the trials' models are all alike in size")
    objective = shared_objective(rows)
    title, factor = TRIAL_COSTS[name]
    table = rows.assign(cost=factor * rows[name].astype(float), shown=objective.scale * rows["score"])
    table = table.assign(best=not_dominated(table["cost"], -table["merit"])).sort_values("cost")
    drawing, (axes,) = canvas(3.0)
    front = table[table["best"]]
    axes.scatter(table["cost"], table["shown"], s=16, color=MUTED, alpha=0.6, linewidths=0, label="trial")
    axes.plot(front["cost"], front["shown"], color=SERIES[1], marker="o", drawstyle="steps-post", label="Pareto front")
    axes.set_xlabel(title)
    axes.set_ylabel(f"validation {objective.title}{objective.unit}")
    legend(drawing, axes)
    shown = "; ".join(
        f"{objective.with_unit(line['score'])} at {line['cost']:.3g}" for line in front.to_dict("records")
    )
    text = (
        f"{len(front)} of {len(table)} trials that ran to the end are on the front of score against {title}:"
        f" {shown}.{which_search}"
    )
    names = {"cost": title, "shown": f"score{objective.unit}"}
    table = table[["trial", "cost", "shown", "best"]].rename(columns=names)
    return Plot(text, table.reset_index(drop=True), drawing)
