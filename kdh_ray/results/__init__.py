"""Results of runs: rows on disk, frames of rows, and tables.

>>> from kdh_ray.results import load_runs
"""

from kdh_ray.results.columns import normalise_rows
from kdh_ray.results.rows import compact, copy_rows, load_runs, recorded, write_row

__all__ = ["compact", "copy_rows", "load_runs", "normalise_rows", "recorded", "write_row"]
