"""The search for a stage's best settings: its space, its trials, and the run of the best configuration."""

from kdh_ray.jobs.stage_search.run_search import search

__all__ = ["search"]
