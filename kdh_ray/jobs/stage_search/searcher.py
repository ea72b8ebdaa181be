"""The searcher that a configuration names, and the name of what it finds."""

from __future__ import annotations

from typing import Any, Literal

from kdh_ray.config import RunConfig, every_range
from kdh_ray.errors import ConfigError, UserError
from kdh_ray.evaluation.objectives import objective_named
from kdh_ray.jobs.stage_search.space import nested, own_settings, search_space


def make_searcher(config: RunConfig) -> Any:
    """Make the searcher that ``tune.searcher`` names.

    Its first suggestion is the stage's own settings, as far as they lie in the ranges. The best trial is then at least
    as good on the validation split as the stage was, unless a scheduler stops that first trial early.

    Raises:
        ConfigError: If there is no searcher of that name, or it optimises one objective and there are several.
    """
    from searchers.factory import make_searcher as make

    name, own = config.tune.searcher, nested(search_space(config), own_settings(config))
    swarm = {"n_particles": config.tune.particles} if _is_swarm(config) else {}
    first = [own] if own else None
    further = further_objectives(config)
    try:
        return make(
            name, seed=config.seed, budget=config.tune.n_trials, points_to_evaluate=first, further_objectives=further,
            **swarm,
        )  # fmt: skip
    except ValueError as error:
        raise ConfigError([f"tune.searcher: {error}"]) from None


def further_objectives(config: RunConfig) -> dict[str, Literal["max", "min"]]:
    """Return the results that trials are compared by after the first objective, each with its mode."""
    return {each.column: each.mode for each in map(objective_named, config.tune.objectives[1:])}


def check_searcher(searcher: Any, config: RunConfig) -> None:
    """Check that a searcher which was not made here can search the configuration's space for its objectives.

    Raises:
        UserError: If choices bring settings, and the searcher would take those for values; or if there are several
            objectives, and the searcher has others.
    """
    from searchers.ask_tell_search import AskTellSearch

    while hasattr(searcher, "searcher"):  # such as Tune's ConcurrencyLimiter
        searcher = searcher.searcher
    path = next((path for path, _, entry in every_range(search_space(config)) if entry.brought), None)
    if path is not None and not isinstance(searcher, AskTellSearch):
        raise UserError(
            f"tune.space.{path}: {type(searcher).__name__} can't search choices that bring settings; use a searcher of"
            " searchers.factory"
        )
    further = further_objectives(config)
    if getattr(searcher, "further_objectives", {}) != further:
        raise UserError(
            f"tune.objective: {type(searcher).__name__} optimises one objective or others; use a searcher of"
            f" searchers.factory with further_objectives={further!r}"
        )


def tuned_variant(config: RunConfig) -> str:
    """Return the ``variant`` of the best configuration's row: ``swarm-tuned``, ``optuna-tpe-tuned``, ..."""
    return "swarm-tuned" if _is_swarm(config) else f"{config.tune.searcher}-tuned"


def _is_swarm(config: RunConfig) -> bool:
    return config.tune.searcher.startswith("pso")
