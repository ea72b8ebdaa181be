"""Everything that runs a configuration, and everything that touches Ray."""

from kdh_ray.jobs.run import run
from kdh_ray.jobs.stage_search import search

__all__ = ["run", "search"]
