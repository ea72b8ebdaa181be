"""Hyperparameter search: trials as concurrent Ray Tune workers, stopped early, recorded, resumable."""

from kdh_ray.jobs.tuning.search import Search, make_scheduler, tune
from kdh_ray.jobs.tuning.stage import tune_stage

__all__ = ["Search", "make_scheduler", "tune", "tune_stage"]
