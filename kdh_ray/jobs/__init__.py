"""Runs and searches on Ray: what turns a configuration into checkpoints and result rows.

>>> from kdh_ray.jobs import run, search
"""

from kdh_ray.jobs.run import run
from kdh_ray.jobs.stage_search import search

__all__ = ["run", "search"]
