"""Hyperparameter search over any trainable: concurrent Ray Tune trials, stopped early, recorded, resumable."""

from kdh_ray.tuning.result import SearchResult
from kdh_ray.tuning.schedulers import make_scheduler
from kdh_ray.tuning.session import tune
from kdh_ray.tuning.settings import TuneSettings

__all__ = ["SearchResult", "TuneSettings", "make_scheduler", "tune"]
