"""Tables: from a frame of rows to a frame for reading, with means over seeds and their spread.

Tables hold numbers; ``kdh_ray.results.render`` turns them into text. Scores of different protocols or sizes do not
compare: they are separate lines, and the best is marked within one protocol and size.

>>> from kdh_ray.results import load_runs, tables
>>> tables.by_size(load_runs("runs"))
"""

from kdh_ray.results.tables.ablation import REFERENCE, ablation, changes
from kdh_ray.results.tables.efficiency import EFFICIENCY, efficiency, pareto
from kdh_ray.results.tables.methods import COSTS, MISSING, SCORES, by_size, run_table, spread_cell, stage_table
from kdh_ray.results.tables.searcher_regret import regrets, searchers
from kdh_ray.results.tables.significance import NothingToCompareError, significance, within_pairs

__all__ = [
    "COSTS",
    "EFFICIENCY",
    "MISSING",
    "REFERENCE",
    "SCORES",
    "NothingToCompareError",
    "ablation",
    "by_size",
    "changes",
    "efficiency",
    "pareto",
    "regrets",
    "run_table",
    "searchers",
    "significance",
    "spread_cell",
    "stage_table",
    "within_pairs",
]
