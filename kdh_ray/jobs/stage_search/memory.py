"""The memory of a trial, estimated for the largest student of the search."""

from __future__ import annotations

from kdh_ray.config import RunConfig
from kdh_ray.jobs.memory import memory_of_stage
from kdh_ray.jobs.stage_search.space import searches_by_start, tuned_stage


def memory_per_trial(config: RunConfig, on_gpu: bool = False) -> float:
    """Return the bytes to reserve for a trial of the tuned stage: as configured, else estimated for the largest one."""
    if config.tune.memory_per_trial is not None:
        return config.tune.memory_per_trial
    searches = searches_by_start(config).values()
    return max(memory_of_stage(search, tuned_stage(config), on_gpu, space) for search, space in searches)
