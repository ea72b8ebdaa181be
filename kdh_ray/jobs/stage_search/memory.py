"""The memory of a trial, estimated for the largest student of the search."""

from __future__ import annotations

from kdh_ray.config import RunConfig
from kdh_ray.jobs.memory import memory_of_stage
from kdh_ray.jobs.stage_search.space import search_space, tuned_stage


def memory_per_trial(config: RunConfig, on_gpu: bool = False) -> float:
    """Return the bytes to reserve for a trial of the tuned stage: as configured, else estimated for the largest one."""
    if config.tune.memory_per_trial is not None:
        return config.tune.memory_per_trial
    return memory_of_stage(config, tuned_stage(config), on_gpu, search_space(config))
