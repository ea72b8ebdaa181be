"""The searcher that a configuration names, and the name of what it finds."""

from __future__ import annotations

from typing import Any

from kdh_ray.config import RunConfig, every_range
from kdh_ray.errors import ConfigError, UserError
from kdh_ray.jobs.stage_search.space import nested, own_settings, search_space


def make_searcher(config: RunConfig) -> Any:
    """Make the searcher that ``tune.searcher`` names.

    Its first suggestion is the stage's own settings, as far as they lie in the ranges. The best trial is then at least
    as good on the validation split as the stage was, unless a scheduler stops that first trial early.

    Raises:
        ConfigError: If there is no searcher of that name.
    """
    from searchers.factory import make_searcher as make

    name, own = config.tune.searcher, nested(search_space(config), own_settings(config))
    swarm = {"n_particles": config.tune.particles} if _is_swarm(config) else {}
    first = [own] if own else None
    try:
        return make(name, seed=config.seed, budget=config.tune.n_trials, points_to_evaluate=first, **swarm)
    except ValueError as error:
        raise ConfigError([f"tune.searcher: {error}"]) from None


def check_searcher(searcher: Any, config: RunConfig) -> None:
    """Check that a searcher which was not made here can search the configuration's space.

    Raises:
        UserError: If choices bring settings, and the searcher would take those for values.
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


def tuned_variant(config: RunConfig) -> str:
    """Return the ``variant`` of the best configuration's row: ``swarm-tuned``, ``optuna-tpe-tuned``, ..."""
    return "swarm-tuned" if _is_swarm(config) else f"{config.tune.searcher}-tuned"


def _is_swarm(config: RunConfig) -> bool:
    return config.tune.searcher.startswith("pso")
