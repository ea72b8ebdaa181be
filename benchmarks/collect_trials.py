"""Collect the trials of searches in one Parquet table, which ``benchmarks.searchers.problems.trials`` replays.

    python -m benchmarks.collect_trials RUN ... -o benchmarks/data/NAME.parquet [--searches]

The table has one row per configuration: the settings that differ between trials (``config_loss.alpha``), ``score``
(validation micro F1), ``seconds``, ``curve`` (the score after each epoch, as JSON), and the columns that the trials
share: ``experiment``, ``protocol``, ``size``, ``stage``, ``seed`` and ``commit``. Stopped and failed trials are left
out. With ``--searches`` the table is a record of the searches, not one to replay: it has all trials, their status and
the particles behind them.
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
    """Return the table of the finished trials in ``frame``; with ``searches``, of all trials.

    Raises:
        DataError: If there are fewer than two trials, or all have the same settings.
    """
    trials = frame[(frame.get("kind") == "trial") & ((frame["status"] == "ok") | searches)]
    if len(trials) < 2:
        raise DataError(f"a table needs at least two finished trials; got {len(trials)}")
    # A setting that is the same in all trials is no axis of the table.
    settings = [name for name in trials if name.startswith("config_") and trials[name].nunique() > 1]
    if not settings:
        raise DataError(f"the {len(trials)} trials all have the same settings")
    names = [*COMMON, *(SEARCH if searches else ()), *settings, "seconds", "curve"]
    table = trials.reindex(columns=names).assign(score=trials["validation_f1_micro"])
    if searches:
        return table.sort_values(["seed", "searcher", "scheduler", "trial"]).reset_index(drop=True)
    return table.drop_duplicates(settings, keep="last").sort_values(settings).reset_index(drop=True)


def main() -> None:
    """Read the runs and write the table."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument("-o", "--output", type=Path, required=True, help="Parquet file to write")
    parser.add_argument("--searches", action="store_true", help="keep stopped and failed trials too")
    arguments = parser.parse_args()
    table = collect(load_runs(*arguments.runs), arguments.searches)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(arguments.output, index=False)
    low, high = table["score"].min(), table["score"].max()
    print(f"{arguments.output}: {len(table)} configurations, scores {low:.3f} to {high:.3f}")


if __name__ == "__main__":
    main()
