"""Figures of scores against costs: of methods on the test split, and of a search's trials on validation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kdh_ray.errors import DataError
from kdh_ray.report.figures.drawing import MUTED, SERIES, Plot, canvas, figure, legend, look
from kdh_ray.results.selections import best_search, largest, means, metric_name, objective_name, results, trials

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

MOST_NAMED = 10  # methods with a mark of their own; of more, those on the front alone
COSTS = {
    "latency_p50_ms": ("median latency of a document, in ms", 1.0),
    "parameters": ("parameters, in millions", 1e-6),
}
"""Columns that say what a model costs, dearest to know first: title and factor of each."""


@figure("cost", "Test score against cost")
def cost(frame: pd.DataFrame) -> Plot:
    """Methods by what they cost and score; those that no other beats in both are joined.

    Where there are many, only these are named in the picture: the data names all.
    """
    rows = largest(results(frame))
    costs = {name: _median_costs(rows, name) for name in COSTS if name in rows}
    name = next((name for name, found in costs.items() if found.nunique() > 1), None)
    if name is None:
        raise DataError("fewer than two models of different size or latency were measured")
    title, _ = COSTS[name]
    table = means(rows[rows[name].notna()])
    table = table.assign(cost=table["method"].map(costs[name]))
    table = table.assign(best=not_dominated(table["cost"], -table["mean"]))
    named = table if len(table) <= MOST_NAMED else table[table["best"]]
    others = table.drop(index=named.index)
    drawing, (axes,) = canvas(2.6 + 0.15 * (len(named) + (len(others) > 0)))
    front = table[table["best"]].sort_values("cost")
    axes.plot(front["cost"], front["mean"], color=MUTED, linewidth=1, linestyle="--", drawstyle="steps-post")
    for index, line in enumerate(named.to_dict("records")):
        spread = None if line["n"] < 2 else line["sd"]
        axes.errorbar(line["cost"], line["mean"], yerr=spread, label=line["method"], linestyle="", **look(index))
    if len(others):
        axes.errorbar(
            others["cost"], others["mean"], yerr=others["sd"].fillna(0), label=f"{len(others)} others", linestyle="",
            color=MUTED, marker=".", elinewidth=0.8, zorder=1,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.margins(x=0.12)
    _plain_ticks(axes, table["cost"])
    axes.set_xlabel(title)
    axes.set_ylabel(f"test {metric_name(rows)} in %")
    legend(drawing, axes)
    shown = "; ".join(f"{line.method}: {line.cost:.3g}, {line.mean:.1f} %" for line in front.itertuples())
    text = f"No other method both costs less ({title}) and scores higher than: {shown}."
    text += f" The {len(others)} others are grey; the data names them." if len(others) else ""
    return Plot(text, table[["method", "n", "cost", "mean", "sd", "best"]].rename(columns={"cost": title}), drawing)


def _median_costs(rows: pd.DataFrame, name: str) -> pd.Series[float]:
    """By method, in the title's unit, with three digits: models that differ in a thousandth cost the same."""
    found = COSTS[name][1] * rows[rows[name].notna()].astype({name: float}).groupby("method")[name].median()
    return found.map(lambda value: float(f"{value:.3g}"))


def not_dominated(*losses: pd.Series[Any]) -> list[bool]:
    """Which lines no other line is at least as good as in every loss and better than in one."""
    import numpy as np

    values = np.stack([loss.to_numpy(dtype=float) for loss in losses], axis=1)
    as_good = np.all(values[:, None] <= values[None], axis=2)
    better = np.any(values[:, None] < values[None], axis=2)
    return [not np.any(column) for column in (as_good & better).T]


def _plain_ticks(axes: Axes, values: pd.Series[Any]) -> None:
    """On a short logarithmic axis, ticks at the values themselves: decades alone would say nothing."""
    from matplotlib.ticker import FixedLocator, NullLocator

    axes.xaxis.set_minor_locator(NullLocator())
    kept: list[float] = []
    apart = (values.max() / values.min()) ** 0.12  # so that no two labels touch
    for value in sorted(set(values)):
        if not kept or value > apart * kept[-1]:
            kept.append(value)
    axes.xaxis.set_major_locator(FixedLocator(kept))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.3g}")


_SHAPE = ("parameters", "config_layers", "config_max_tokens")  # what makes models cost more or less to run
TRIAL_COSTS = {"latency_ms": ("latency of a document, in ms", 1.0), "parameters": COSTS["parameters"]}


@figure("pareto", "Trials by score and cost (Pareto front)")
def pareto(frame: pd.DataFrame) -> Plot:
    """Trials that ran to their end; those that no other beats in both score and cost are joined."""
    rows, words = best_search(trials(frame))
    rows = rows[(rows["status"] == "ok") & rows["score"].notna()]
    differ = any(rows[name].nunique(dropna=False) > 1 for name in _SHAPE if name in rows)
    name = next((name for name in TRIAL_COSTS if name in rows and rows[name].nunique() > 1), None)
    if name is None or not differ:  # a latency that was measured twice differs, too
        raise DataError("the trials' models are all alike in size")
    title, factor = TRIAL_COSTS[name]
    table = rows.assign(cost=factor * rows[name].astype(float), percent=100 * rows["score"])
    table = table.assign(best=not_dominated(table["cost"], -table["percent"])).sort_values("cost")
    drawing, (axes,) = canvas(3.0)
    front = table[table["best"]]
    axes.scatter(table["cost"], table["percent"], s=16, color=MUTED, alpha=0.6, linewidths=0, label="trial")
    axes.plot(
        front["cost"], front["percent"], color=SERIES[1], marker="o", drawstyle="steps-post", label="Pareto front"
    )
    axes.set_xlabel(title)
    axes.set_ylabel(f"validation {objective_name(rows)} in %")
    legend(drawing, axes)
    shown = "; ".join(f"{line['percent']:.1f} % at {line['cost']:.3g}" for line in front.to_dict("records"))
    text = f"{len(front)} of {len(table)} whole trials are on the front of score against {title}: {shown}.{words}"
    table = table[["trial", "cost", "percent", "best"]].rename(columns={"cost": title, "percent": "score in %"})
    return Plot(text, table.reset_index(drop=True), drawing)
