"""Summary of a search on stderr, once it has ended."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from kdh_ray.cli.trials import Board, epochs, settings
from kdh_ray.errors import DataError
from kdh_ray.evaluation.objectives import OBJECTIVES
from kdh_ray.run_folder import RunFolder

if TYPE_CHECKING:
    import pandas as pd

    from kdh_ray.config import RunConfig


def print_summary(frame: pd.DataFrame, config: RunConfig, board: Board, out: Path) -> None:
    """Print the best trial, the savings of early stopping, the best score at each cost, and where the files are."""
    from kdh_ray.jobs.stage_search.space import tuned_stage

    if board.best() is not None:
        _print_best(config, board)
        _print_choice(frame)
        _print(board.savings())
        print_front(frame, config)
    _print(f"\nFiles of the run: {out}")
    _print(f"  search/rows/       a result row per trial: kdh-ray results {out}")
    _print("  best/config.yaml   the best configuration, for kdh-ray run")
    name = tuned_stage(config)
    if RunFolder(out).best.stage(name).checkpoint.exists():  # an ensemble's mean has none
        _print(f"  best/stages/{name}/checkpoint  the classifier that it trained")


def _print_best(config: RunConfig, board: Board) -> None:
    """Print the best trial and the first, which has the stage's own settings."""
    from kdh_ray.jobs.stage_search.space import own_settings

    best, first = board.best(), board.trials[1]
    if best is None:
        return
    own = " (the stage's own settings, where they are in range)" if own_settings(config) else ""
    stopped = "" if first.status == "ok" else f", {first.status}"  # its score can't be compared with a full training
    _print(f"\nBest of {len(board.trials)} trials: trial {best.number}, {settings(best)}")
    _print(
        f"Validation {board.objective.title} {board.score(best)}; trial 1{own}: {board.score(first)}{stopped} after"
        f" {epochs(first)}"
    )


def _print_choice(frame: pd.DataFrame) -> None:
    """Print which configuration was chosen, and how sure that is."""
    if "search_choice" in frame and len(said := frame["search_choice"].dropna()):
        _print(str(said.iloc[-1]))


def print_front(frame: pd.DataFrame, config: RunConfig) -> None:
    """Print the front of several objectives, or of score and cost if the search varied what students cost to run."""
    from kdh_ray.jobs.stage_search.student_costs import varied_cost
    from kdh_ray.results import render, tables
    from kdh_ray.results.fronts import front_table

    if len(config.tune.objectives) > 1:
        with suppress(DataError):
            _print(f"\nNo other trial beats one of these in all objectives:\n{render.to_plain(front_table(frame))}")
        return
    cost = varied_cost(config)
    if cost is None:
        return
    with suppress(DataError):  # no trial ran to its end
        objective = OBJECTIVES[config.tune.objectives[0]]
        front = tables.pareto(frame, objective.column, cost, objective.mode)
        _print(f"\nNo other trial is both better and cheaper than one of these:\n{render.to_plain(front)}")


def _print(text: str) -> None:
    print(text, file=sys.stderr)
