"""Figures of a search's settings: which of them mattered, and where good trials are.

Scores are validation scores at the epoch that a trial reached; a search never sees the test split.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

from kdh_ray.errors import DataError, UnavailableError
from kdh_ray.extras import require
from kdh_ray.report.figures.drawing import MUTED, RULE, SERIES, Plot, canvas, figure, spans_decades
from kdh_ray.results.columns import setting_name
from kdh_ray.results.search_trials import best_search, searched_settings, shared_objective, trial_rows

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

FEWEST_TRIALS = 10  # from which importances are estimated
MOST_AXES = 12
_BEST_SHARE = 0.1


@figure("importance", "Which settings mattered")
def importance(frame: pd.DataFrame) -> Plot:
    """Draw the share of each setting in the variance of scores within searches, by functional ANOVA."""
    rows = trial_rows(frame)
    table = importances(rows).rename_axis("setting").reset_index(name="share")
    table["setting"] = table["setting"].map(setting_name)
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
    of_searches = f" of {searches} searches, scores less the mean of their search" if searches > 1 else ""
    text = (
        f"Most of the differences between trials go with {first}. Functional ANOVA over {n} trials{of_searches}; those"
        f" stopped early count with the score that they reached.{few}"
    )
    return Plot(text, table, drawing)


def importances(rows: pd.DataFrame) -> pd.Series[float]:
    """Return the importance of each setting by Optuna's fANOVA.

    The method is Hutter et al., 2014 (proceedings.mlr.press/v32/hutter14.html). Searches with other seeds, sizes and
    searchers differ in level. Each score therefore counts by its distance from the mean of its search, so that several
    searches of a few trials each can be used together.

    Args:
        rows: From ``trial_rows``.

    Returns:
        Shares that add up to 1, by column of the setting, highest first.

    Raises:
        DataError: If fewer than ten trials have a score, or no setting differs between them.
        UnavailableError: If Optuna is not installed.
    """
    import pandas as pd

    scored = rows[rows["score"].notna()]
    scored = scored.assign(score=scored["score"] - scored.groupby("search")["score"].transform("mean"))
    names = searched_settings(scored)
    if len(scored) < FEWEST_TRIALS or not names:
        raise DataError(
            f"importances need at least {FEWEST_TRIALS} trials with a score and different settings; got {len(scored)}"
        )
    require("a figure of importances", "report", "optuna")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {name: _distribution(scored[name]) for name in names}
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    study.add_trials(
        [
            optuna.trial.create_trial(
                value=float(row["score"]),
                params={name: _python_value(row[name]) for name in names},
                distributions=distributions,
            )
            for row in scored[[*names, "score"]].to_dict("records")
        ]
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return pd.Series(shares, dtype=float).sort_values(ascending=False)


def _distribution(values: pd.Series[Any]) -> Any:
    """Return the range that was searched, as far as the trials show it."""
    import optuna

    if not is_number(values):
        choices = sorted({_python_value(value) for value in values}, key=str)
        return optuna.distributions.CategoricalDistribution(choices)
    low, high = float(values.min()), float(values.max())
    return optuna.distributions.FloatDistribution(low, high, log=spans_decades(values))


def is_number(values: pd.Series[Any]) -> bool:
    """Return whether a setting is a number; True and False are categories."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    return bool(is_numeric_dtype(values) and not is_bool_dtype(values))


def _python_value(value: Any) -> Any:
    """Return a NumPy scalar as Python's; None for a setting that a trial does not have."""
    plain = value.item() if hasattr(value, "item") else value
    return None if plain != plain else plain


@figure("parallel-coordinates", "Settings and score of every trial")
def parallel_coordinates(frame: pd.DataFrame) -> Plot:
    """Draw a line per trial across an axis per setting, with the best tenth of trials in colour."""
    rows, which_search = best_search(trial_rows(frame))
    scored = rows[rows["score"].notna()]
    names = searched_settings(scored)
    if len(scored) < 2 or not names:
        raise DataError("fewer than two trials with different settings have a score")
    if len(names) > MOST_AXES:
        names = _most_varied(scored, names)
    positions: dict[str, pd.Series[float]] = {}
    ends: dict[str, tuple[str, str]] = {}
    for name in names:
        positions[name], *labels = axis_positions(scored[name])
        ends[name] = (labels[0], labels[1])
    score, objective = scored["score"], shared_objective(scored)
    positions["score"] = (score - score.min()) / _width(score)
    ends["score"] = (objective.with_unit(score.min()), objective.with_unit(score.max()))
    drawing, (axes,) = canvas(0.4 + 0.36 * len(positions))
    is_best = scored["merit"].rank(ascending=False, method="first") <= max(1, round(_BEST_SHARE * len(scored)))
    for index in scored.index[~is_best].append(scored.index[is_best]):  # the best last, above the others
        line = [position[index] for position in positions.values()]
        if is_best[index]:
            axes.plot(line, range(len(line)), color=SERIES[1], linewidth=1.4)
        else:
            axes.plot(line, range(len(line)), color=MUTED, linewidth=0.7, alpha=0.35)
    _label_axes(axes, ends)
    top = scored.nlargest(1, "merit").iloc[0]
    chosen = ", ".join(f"{setting_name(name)} {_shown(top[name])}" for name in names)
    text = (
        f"The best of {len(scored)} trials reached {objective.with_unit(top['score'])} on validation with {chosen}."
        f" Orange lines are the best tenth.{which_search}"
    )
    table = scored.sort_values("merit", ascending=False)[["trial", "score", *names]].rename(columns=setting_name)
    return Plot(text, table.reset_index(drop=True), drawing)


def axis_positions(values: pd.Series[Any]) -> tuple[pd.Series[float], str, str]:
    """Return the positions of values on an axis from 0 to 1, and the labels of its lower and upper end."""
    if not is_number(values):
        categories = sorted({str(value) for value in values})
        positions = values.map(lambda value: categories.index(str(value)) / max(1, len(categories) - 1))
        return positions.astype(float), categories[0], categories[-1]
    low, high = values.min(), values.max()
    scaled = values.astype(float)
    if spans_decades(values):
        scaled = scaled.map(math.log)
    return (scaled - scaled.min()) / _width(scaled), _shown(low), _shown(high)


def _width(values: pd.Series[float]) -> float:
    """Return the range of values; 1 where all are the same, since it divides."""
    return float(values.max() - values.min()) or 1.0


def _most_varied(scored: pd.DataFrame, names: list[str]) -> list[str]:
    """Return the settings with the highest importance (if unknown: the most values), in their own order."""
    try:
        kept = set(importances(scored).index[:MOST_AXES])
    except (DataError, UnavailableError):
        kept = set(scored[names].nunique().nlargest(MOST_AXES).index)
    return [name for name in names if name in kept]


def _label_axes(axes: Axes, ends: dict[str, tuple[str, str]]) -> None:
    """Draw a horizontal line per setting, with its name and its lowest and highest value on the left."""
    for level in range(len(ends)):
        axes.axhline(level, color=RULE, linewidth=0.8, zorder=0)
    names = [f"{setting_name(name)}\n{low} … {high}" for name, (low, high) in ends.items()]
    axes.set_yticks(range(len(ends)), names)
    axes.set_xticks([0, 1], ["lowest", "highest"])
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.set(xlim=(-0.02, 1.02), ylim=(len(ends) - 0.6, -0.4))


def _shown(value: Any) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)
