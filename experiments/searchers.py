"""Searchers on replayed real trials: the regret of each after so many trials, with eight simulated workers.

    python -m experiments.searchers --preset smoke|cpu|gpu [--out DIR]

The tables in ``benchmarks/data`` hold every configuration of a grid, trained once (``benchmarks.train_grid``). Regret
is 0 at the best trial of a table and 1 at its median. The durations of trials depend on the seed only.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np

from experiments.grid import Block, Columns, Experiment, Method, Place, main
from experiments.methods import Perform
from kdh_ray.results import tables
from kdh_ray.results.method_rows import REPLAY

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SEARCHERS = ("pso", "pso-plain", "pso-generational", "pyswarms", "nevergrad-pso", "optuna-tpe", "random")
BUDGETS = (5, 10, 15, 20, 30, 40)
WORKERS = 8


def replayed(searcher: str) -> Perform:
    """Replay a searcher on the table of the place's configuration."""

    def perform(place: Place, columns: Columns) -> None:
        from benchmarks.searchers.problems import trials
        from benchmarks.searchers.simulate import PEERS, run
        from kdh_ray.jobs.run_rows import run_id
        from kdh_ray.results import write_row
        from kdh_ray.results.stage_rows import stage_row

        config = place.config
        problem = trials(str(BENCHMARKS / "data" / f"{config.name}.parquet"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the packages of other searchers
            made = PEERS[searcher](problem.space, config.seed, BUDGETS[-1])
            done = run(made, problem.function, BUDGETS[-1], WORKERS, config.seed)
        row = stage_row(config, searcher, run_id(config, str(columns["experiment"])), problem.name, kind=REPLAY)
        regrets = {f"regret_at_{n}": problem.regret(done.best_after(n)) for n in BUDGETS}
        # Values are errors, 1 - score; the curve is the best score after each trial.
        curve = (1.0 - np.minimum.accumulate(done.values)).tolist()
        result = {"validation_f1_micro": curve[-1], "curve": curve, "busy": done.busy, "workers": WORKERS}
        write_row(place.folder / "searchers", {**row, **regrets, **result, **columns})

    return perform


METHODS = tuple(Method(name, replayed(name)) for name in SEARCHERS)

REPLAYED = [str(BENCHMARKS / "configs" / f"trials-{name}.yaml") for name in ("synthetic", "hoc")]
FULL = tuple(Block(table, ("small",), 20) for table in REPLAYED)
GRID = {"smoke": (Block(REPLAYED[0], ("small",), 1),), "cpu": FULL, "gpu": FULL}

EXPERIMENT = Experiment("searchers", METHODS, GRID, tables.searchers)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, __doc__))
