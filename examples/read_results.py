"""Read result rows in pandas: python examples/read_results.py [folder ...]

Without arguments it reads rows of the study on Hallmarks of Cancer, which are in this repository.
"""

from __future__ import annotations

import sys
from pathlib import Path

from kdh_ray import load_runs

STUDY = Path(__file__).resolve().parents[1] / "experiments/results/2026-11-26-study-gpu-more"


def main(*folders: str) -> None:
    """Print means over seeds, and what distillation gains seed by seed."""
    rows = load_runs(*(folders or [STUDY]))  # one row for each stage, trial and baseline
    done = rows[(rows["status"] == "ok") & rows["test_f1_micro"].notna() & (rows["kind"] != "trial")].copy()
    done["method"] = done["method"].fillna(done["stage"])  # rows of ordinary runs have no method
    done["f1"] = 100 * done["test_f1_micro"]

    means = done.groupby(["pair", "size", "method"], dropna=False)["f1"].agg(["mean", "std", "count"])
    print(means.round(1).to_string())

    # One line for each seed, one column for each method: differences are paired by seed.
    paired = done.pivot_table(index=["pair", "size", "seed"], columns="method", values="f1", aggfunc="last")
    if {"distilled", "plain-student"} <= set(paired.columns):
        gain = (paired["distilled"] - paired["plain-student"]).groupby(["pair", "size"]).agg(["mean", "std", "count"])
        print("\nDistilled over plain student, points of micro F1, by seed")
        print(gain.round(1).to_string())


if __name__ == "__main__":
    main(*sys.argv[1:])
