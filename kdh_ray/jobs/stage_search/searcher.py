"""The searcher that a configuration names, and the name of what it finds."""

from __future__ import annotations

from typing import Any

from kdh_ray.config import RunConfig
from kdh_ray.errors import ConfigError
from kdh_ray.jobs.stage_search.space import own_settings


def make_searcher(config: RunConfig) -> Any:
    """Make the searcher that ``tune.searcher`` names.

    Its first suggestion is the stage's own settings, as far as they lie in the ranges. The best trial is then at least
    as good on the validation split as the stage was, unless a scheduler stops that first trial early.

    Raises:
        ConfigError: If there is no searcher of that name.
    """
    from searchers.factory import make_searcher as make

    name, own = config.tune.searcher, own_settings(config)
    swarm = {"n_particles": config.tune.particles} if _is_swarm(config) else {}
    first = [own] if own else None
    try:
        return make(name, seed=config.seed, budget=config.tune.n_trials, points_to_evaluate=first, **swarm)
    except ValueError as error:
        raise ConfigError([f"tune.searcher: {error}"]) from None


def tuned_variant(config: RunConfig) -> str:
    """Return the ``variant`` of the best configuration's row: ``swarm-tuned``, ``optuna-tpe-tuned``, ..."""
    return "swarm-tuned" if _is_swarm(config) else f"{config.tune.searcher}-tuned"


def _is_swarm(config: RunConfig) -> bool:
    return config.tune.searcher.startswith("pso")
