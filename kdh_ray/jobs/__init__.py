"""Everything that runs a configuration, and everything that touches Ray."""

from kdh_ray.jobs.run import run

__all__ = ["run"]
