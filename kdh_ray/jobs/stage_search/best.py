"""The best configuration of a search, as a run of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kdh_ray.config import RunConfig
from kdh_ray.jobs.stage_search.space import configured
from kdh_ray.run_folder import RunFolder


def earlier_stages(config: RunConfig, tuned: str) -> list[str]:
    """Return the stages that :func:`best_config` reads the checkpoints of, in the order of the run."""
    return config.needs(tuned, *config.dependents(tuned))


def best_config(config: RunConfig, tuned: str, folder: RunFolder, values: Mapping[str, Any]) -> RunConfig:
    """Return a configuration of the tuned stage with ``values``, and of the stages that build on it.

    It names earlier stages by their checkpoints in ``folder``, so that it is an ordinary run of its own.
    """
    stages = {name: config.stages[name] for name in (tuned, *config.dependents(tuned))}
    stages[tuned] = configured(stages[tuned], values)
    cache = str(config.cache or folder.cache)
    return config.with_only(stages, lambda name: folder.stage(name).checkpoint, cache=cache, baselines={"tfidf": False})
