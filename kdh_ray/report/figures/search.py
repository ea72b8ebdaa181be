"""Figures of searches: how fast they found what, which settings mattered, and where good trials lie.

Scores are validation scores at the epoch that a trial reached; a search never sees the test split.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

from kdh_ray.errors import DataError, UnavailableError
from kdh_ray.report.figures.drawing import MUTED, RULE, SERIES, Plot, canvas, cut, figure, legend, look
from kdh_ray.results.selections import best_search, is_log, objective_name, settings, short, trials
from kdh_ray.results.tables import regrets

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

FEWEST = 10  # trials from which importances are estimated
MOST_AXES = 12
_BEST_SHARE = 0.1


@figure("convergence", "How fast searches find good settings")
def convergence(frame: pd.DataFrame) -> Plot:
    """Best validation score so far, by ended trials and by compute: each search, and the mean of a searcher's."""
    rows = progress(trials(frame))
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
        several = f" (mean of {len(ends)} searches, {ends.min():.1f} to {ends.max():.1f})" if len(ends) > 1 else ""
        shown.append(f"{name} {ends.mean():.1f} %{several}")
    axes[0].locator_params(axis="x", integer=True)
    axes[0].set_xlabel("trials ended")
    axes[1].set_xlabel("minutes of training, all trials together")
    axes[0].set_ylim(*_where_it_is_decided(rows))
    drawing.supylabel(f"best validation {objective_name(rows)} so far, in %", fontsize=8.5)
    legend(drawing, axes[0])
    text = (
        f"Best validation score at the end: {'; '.join(shown)}. Trials stopped early count with the score that they"
        " reached. Thin lines are single searches; the first trials' lower scores may lie below the picture."
    )
    return Plot(text, rows[["name", "searcher", "search", "trials", "minutes", "best"]], drawing)


def _mean(rows: pd.DataFrame, across: str) -> pd.Series[float]:
    """Mean of the best so far over searches, from where all have begun to where the first one ends."""
    lines = rows.pivot_table(index=across, columns="search", values="best", aggfunc="max").ffill()
    shared = lines.loc[: rows.groupby("search")[across].max().min()].dropna()
    return shared.mean(axis=1)


def _where_it_is_decided(rows: pd.DataFrame) -> tuple[float, float]:
    """Limits of the upper part: from the lowest that any search has after a third of its trials."""
    late = rows[rows["trials"] > rows.groupby("search")["trials"].transform("max") / 3]
    low, high = late["best"].min(), rows["best"].max()
    edge = 0.05 * (high - low) or 1.0
    return low - edge, high + edge


def progress(rows: pd.DataFrame) -> pd.DataFrame:
    """A line an ended trial, in the order of their ends: number ended, minutes of training, ``best`` so far in %.

    ``name`` is the searcher's, with the size of the training split where there are several: their scores don't compare.

    Args:
        rows: From ``rows.trials``.

    Raises:
        DataError: If no trial has a score.
    """
    ordered = rows.sort_values(["search", "ended", "trial"], kind="stable")
    groups = ordered.groupby("search", sort=False)
    ordered = ordered.assign(
        searcher=ordered["searcher"].fillna("searcher not named"),
        trials=groups.cumcount() + 1,
        minutes=groups["seconds"].cumsum() / 60,
        best=100 * groups["score"].cummax(),
    )
    ordered["best"] = ordered.groupby("search", sort=False)["best"].ffill()
    several = "size" in ordered and ordered["size"].nunique() > 1
    ordered["name"] = ordered["searcher"] + (", " + ordered["size"].astype(str) if several else "")
    ordered = ordered[ordered["best"].notna()]
    if ordered.empty:
        raise DataError("no trial has a score")
    return ordered.reset_index(drop=True)


@figure("regret", "What searchers have found after so many trials")
def regret(frame: pd.DataFrame) -> Plot:
    """Mean regret of each searcher on replayed trials, with its interval; a panel a table of trials."""
    table = regrets(frame)
    names = table["table"].unique().tolist()
    searchers = table["searcher"].unique().tolist()
    drawing, axes = canvas(0.4 + 0.08 * len(searchers) + 2.4 * len(names), rows=len(names), sharex=True)
    for panel, name in zip(axes, names, strict=True):
        for index, searcher in enumerate(searchers):
            own = table[(table["table"] == name) & (table["searcher"] == searcher)]
            reach = [(own["regret"] - own["low"]).fillna(0), (own["high"] - own["regret"]).fillna(0)]
            places = own["trials"] + 0.3 * (index - len(searchers) / 2)  # beside one another
            panel.errorbar(places, own["regret"], yerr=reach, label=searcher, capsize=1.5, markersize=3.5,
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


@figure("importance", "Which settings mattered")
def importance(frame: pd.DataFrame) -> Plot:
    """Share of each setting in the variance of scores within searches, by functional ANOVA."""
    rows = trials(frame)
    shares = importances(rows)
    table = shares.rename_axis("setting").reset_index(name="share")
    table["setting"] = table["setting"].map(short)
    drawing, (axes,) = canvas(0.8 + 0.26 * len(table))
    axes.barh(range(len(table)), 100 * table["share"], color=SERIES[0], height=0.6)
    axes.set_yticks(range(len(table)), table["setting"].tolist())
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("share of the variance of scores, in %")
    first = "; ".join(f"{line['setting']} {100 * line['share']:.0f} %" for line in table.head(3).to_dict("records"))
    n = int(rows["score"].notna().sum())
    few = f" {n} trials are few for {len(table)} settings: take the order as a hint." if n < 5 * len(table) else ""
    searches = rows.loc[rows["score"].notna(), "search"].nunique()
    of = f" of {searches} searches, scores less the mean of their search" if searches > 1 else ""
    text = (
        f"Most of the differences between trials go with {first}. Functional ANOVA over {n} trials{of}; those stopped"
        f" early count with the score that they reached.{few}"
    )
    return Plot(text, table, drawing)


def importances(rows: pd.DataFrame) -> pd.Series[float]:
    """Optuna's fANOVA (Hutter et al. 2014, proceedings.mlr.press/v32/hutter14.html) over trials.

    Searches of other seeds, sizes and searchers differ in level: each score counts by its distance from the mean of its
    search, so that few trials a search tell something together.

    Returns:
        Shares that add up to 1, by column of the setting, highest first.

    Raises:
        DataError: If fewer than ten trials have a score, or no setting differs between them.
        UnavailableError: If Optuna is not installed.
    """
    import pandas as pd

    scored = rows[rows["score"].notna()]
    scored = scored.assign(score=scored["score"] - scored.groupby("search")["score"].transform("mean"))
    names = settings(scored)
    if len(scored) < FEWEST or not names:
        raise DataError(
            f"importances want at least {FEWEST} trials with a score and different settings; got {len(scored)}"
        )
    try:
        import optuna
    except ImportError:
        raise UnavailableError("importances need Optuna: pip install 'kdh-ray[report]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    known = {name: _distribution(scored[name]) for name in names}
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    study.add_trials(
        [
            optuna.trial.create_trial(
                value=float(row["score"]), params={name: _native(row[name]) for name in names}, distributions=known
            )
            for row in scored[[*names, "score"]].to_dict("records")
        ]
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return pd.Series(found, dtype=float).sort_values(ascending=False)


def _distribution(values: pd.Series[Any]) -> Any:
    """The range that was searched, as far as the trials show it."""
    import optuna
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    if not is_numeric_dtype(values) or is_bool_dtype(values):
        return optuna.distributions.CategoricalDistribution(sorted({_native(value) for value in values}, key=str))
    return optuna.distributions.FloatDistribution(float(values.min()), float(values.max()), log=is_log(values))


def _native(value: Any) -> Any:
    """Python's own scalar; None where a setting is not there."""
    plain = value.item() if hasattr(value, "item") else value
    return None if plain != plain else plain


@figure("parallel-coordinates", "Settings and score of every trial")
def parallel_coordinates(frame: pd.DataFrame) -> Plot:
    """A line a trial over one axis a setting; the best tenth stands out."""
    rows, words = best_search(trials(frame))
    scored = rows[rows["score"].notna()]
    names = settings(scored)
    if len(scored) < 2 or not names:
        raise DataError("fewer than two trials with different settings have a score")
    if len(names) > MOST_AXES:
        names = _most_varied(scored, names)
    places = {name: place(scored[name]) for name in names}
    score = scored["score"]
    heights = {
        **{name: found for name, (found, _, _) in places.items()},
        "score": (score - score.min()) / _width(score),
    }
    drawing, (axes,) = canvas(0.4 + 0.36 * len(heights))
    best = scored["score"].rank(ascending=False, method="first") <= max(1, round(_BEST_SHARE * len(scored)))
    for index in scored.index[~best].append(scored.index[best]):
        line = [found[index] for found in heights.values()]
        if best[index]:
            axes.plot(line, range(len(line)), color=SERIES[1], linewidth=1.4)
        else:
            axes.plot(line, range(len(line)), color=MUTED, linewidth=0.7, alpha=0.35)
    ends = {name: (low, high) for name, (_, low, high) in places.items()}
    ends["score"] = (f"{100 * score.min():.1f} %", f"{100 * score.max():.1f} %")
    _label_axes(axes, ends)
    top = scored.nlargest(1, "score").iloc[0]
    chosen = ", ".join(f"{short(name)} {_shown(top[name])}" for name in names)
    text = (
        f"The best of {len(scored)} trials reached {100 * score.max():.1f} % on validation with {chosen}."
        f" Orange lines are the best tenth.{words}"
    )
    table = scored[["trial", "score", *names]].rename(columns=short).sort_values("score", ascending=False)
    return Plot(text, table.reset_index(drop=True), drawing)


def place(values: pd.Series[Any]) -> tuple[pd.Series[float], str, str]:
    """Places of values on an axis from 0 to 1, and what stands at its lower and upper end."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    if not is_numeric_dtype(values) or is_bool_dtype(values):
        known = sorted({str(value) for value in values})
        heights = values.map(lambda value: known.index(str(value)) / max(1, len(known) - 1))
        return heights.astype(float), known[0], known[-1]
    low, high = values.min(), values.max()
    scaled = values.astype(float)
    if is_log(values):
        scaled = scaled.map(math.log)
    return (scaled - scaled.min()) / _width(scaled), _shown(low), _shown(high)


def _width(values: pd.Series[float]) -> float:
    return float(values.max() - values.min()) or 1.0


def _most_varied(scored: pd.DataFrame, names: list[str]) -> list[str]:
    """The settings that most differ, in their order: by importance where it can be told."""
    try:
        kept = set(importances(scored).index[:MOST_AXES])
    except (DataError, UnavailableError):
        kept = set(scored[names].nunique().nlargest(MOST_AXES).index)
    return [name for name in names if name in kept]


def _label_axes(axes: Axes, ends: dict[str, tuple[str, str]]) -> None:
    """A level line a setting, its name and its ends' values to the left."""
    for level in range(len(ends)):
        axes.axhline(level, color=RULE, linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(ends)), [f"{short(name)}\n{low} … {high}" for name, (low, high) in ends.items()])
    axes.set_xticks([0, 1], ["lowest", "highest"])
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.set(xlim=(-0.02, 1.02), ylim=(len(ends) - 0.6, -0.4))


def _shown(value: Any) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)
