"""Hyperparameter search over any trainable: concurrent Ray Tune trials, stopped early, recorded, resumable."""

from kdh_ray.tuning.session import Search, make_scheduler, tune

__all__ = ["Search", "make_scheduler", "tune"]
