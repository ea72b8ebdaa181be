"""The search for a stage's best settings: its space, its trials, and the run of what it finds."""

from kdh_ray.jobs.stage_search.stage_search import search

__all__ = ["search"]
