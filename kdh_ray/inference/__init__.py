"""A trained classifier at work: on texts in Python, and on files of any size."""

from kdh_ray.inference.batch import BatchSummary, predict_files

__all__ = ["BatchSummary", "predict_files"]
