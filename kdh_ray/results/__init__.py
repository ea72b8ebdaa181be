"""What runs have given: rows on disk, frames, tables.

>>> from kdh_ray.results import load_runs
"""

from kdh_ray.results.rows import compact, load_runs, write_row

__all__ = ["compact", "load_runs", "write_row"]
