"""A classifier at work.

>>> from kdh_ray.deployment import predict
"""

from kdh_ray.deployment.batch import Done, predict

__all__ = ["Done", "predict"]
