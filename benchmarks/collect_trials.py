"""Collect the trials of searches into one Parquet table that ``benchmarks.searchers.problems.trials`` replays.

    python -m benchmarks.collect_trials RUN ... -o benchmarks/data/NAME.parquet

One row a configuration: the settings that differ between trials (``config_loss.alpha``), ``score`` (validation micro
F1), ``seconds``, ``curve`` (the score after each epoch, as JSON), and what the trials have in common: ``experiment``,
``protocol``, ``size``, ``stage``, ``seed`` and ``commit``. Trials that were stopped or failed are left out.
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


def collect(frame: pd.DataFrame) -> pd.DataFrame:
    """The table of the finished trials in ``frame``.

    Raises:
        DataError: If there are fewer than two, or none of their settings differ.
    """
    trials = frame[(frame.get("kind") == "trial") & (frame["status"] == "ok")]
    if len(trials) < 2:
        raise DataError(f"a table wants two finished trials or more; got {len(trials)}")
    settings = [name for name in trials if name.startswith("config_") and trials[name].nunique() > 1]
    if not settings:
        raise DataError(f"the {len(trials)} trials all have the same settings")
    table = trials[[*COMMON, *settings, "seconds", "curve"]].assign(score=trials["validation_f1_micro"])
    return table.drop_duplicates(settings, keep="last").sort_values(settings).reset_index(drop=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    table = collect(load_runs(*arguments.runs))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(arguments.output, index=False)
    low, high = table["score"].min(), table["score"].max()
    print(f"{arguments.output}: {len(table)} configurations, scores {low:.3f} to {high:.3f}")


if __name__ == "__main__":
    main()
