"""What runs have given: rows on disk, frames, tables.

>>> from kdh_ray.results import load_runs
"""

from kdh_ray.results.rows import compact, copy_rows, load_runs, recorded, write_row

__all__ = ["compact", "copy_rows", "load_runs", "recorded", "write_row"]
