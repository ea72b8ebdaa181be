"""Collect the trials of searches into one Parquet table that ``benchmarks.searchers.problems.trials`` replays.

    python -m benchmarks.collect_trials RUN ... -o benchmarks/data/NAME.parquet [--searches]

One row a configuration: the settings that differ between trials (``config_loss.alpha``), ``score`` (validation micro
F1), ``seconds``, ``curve`` (the score after each epoch, as JSON), and what the trials have in common: ``experiment``,
``protocol``, ``size``, ``stage``, ``seed`` and ``commit``. Trials that were stopped or failed are left out; with
``--searches`` all are kept, with what each search knew of them, as a record rather than a table to replay.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from kdh_ray.errors import DataError
from kdh_ray.results import load_runs

if TYPE_CHECKING:
    import pandas as pd

COMMON = ("experiment", "protocol", "size", "stage", "seed", "commit")
SEARCH = ("searcher", "scheduler", "trial", "status", "particle", "velocity_norm", "personal_best")


def collect(frame: pd.DataFrame, searches: bool = False) -> pd.DataFrame:
    """The table of the finished trials in ``frame``, or of all.

    Raises:
        DataError: If there are fewer than two, or none of their settings differ.
    """
    trials = frame[(frame.get("kind") == "trial") & ((frame["status"] == "ok") | searches)]
    if len(trials) < 2:
        raise DataError(f"a table wants two finished trials or more; got {len(trials)}")
    settings = [name for name in trials if name.startswith("config_") and trials[name].nunique() > 1]
    if not settings:
        raise DataError(f"the {len(trials)} trials all have the same settings")
    names = [*COMMON, *(SEARCH if searches else ()), *settings, "seconds", "curve"]
    table = trials.reindex(columns=names).assign(score=trials["validation_f1_micro"])
    if searches:
        return table.sort_values(["seed", "searcher", "scheduler", "trial"]).reset_index(drop=True)
    return table.drop_duplicates(settings, keep="last").sort_values(settings).reset_index(drop=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--searches", action="store_true", help="keep stopped and failed trials too")
    arguments = parser.parse_args()
    table = collect(load_runs(*arguments.runs), arguments.searches)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(arguments.output, index=False)
    low, high = table["score"].min(), table["score"].max()
    print(f"{arguments.output}: {len(table)} configurations, scores {low:.3f} to {high:.3f}")


if __name__ == "__main__":
    main()
