"""Frames of rows -> frames that people read: means over seeds, with their spread.

A table holds numbers; ``kdh_ray.results.render`` turns them into text. Results of different protocols don't compare:
they stand in lines of their own, and the best is marked within one protocol and size.
"""

from kdh_ray.results.tables.comparisons import (
    REFERENCE,
    NothingToCompareError,
    ablation,
    changes,
    significance,
    within_pairs,
)
from kdh_ray.results.tables.efficiency import EFFICIENCY, efficiency, pareto
from kdh_ray.results.tables.means import COSTS, KINDS, MISSING, SCORES, by_size, run_table, spread_cell, stage_table
from kdh_ray.results.tables.method_rows import (
    GROUP,
    METRIC_NAMES,
    NO_METHOD,
    SIZES,
    is_repeated,
    method_names,
    official_scores,
    repetitions,
    size_order,
)
from kdh_ray.results.tables.replays import regrets, searchers

__all__ = [
    "COSTS",
    "EFFICIENCY",
    "GROUP",
    "KINDS",
    "METRIC_NAMES",
    "MISSING",
    "NO_METHOD",
    "REFERENCE",
    "SCORES",
    "SIZES",
    "NothingToCompareError",
    "ablation",
    "by_size",
    "changes",
    "efficiency",
    "is_repeated",
    "method_names",
    "official_scores",
    "pareto",
    "regrets",
    "repetitions",
    "run_table",
    "searchers",
    "significance",
    "size_order",
    "spread_cell",
    "stage_table",
    "within_pairs",
]
