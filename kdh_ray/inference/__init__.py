"""A classifier at work.

>>> from kdh_ray.inference import predict
"""

from kdh_ray.inference.batch import Done, predict

__all__ = ["Done", "predict"]
