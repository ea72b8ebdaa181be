"""What early stopping saves, and what it costs: one search with it and the same search without, in one run.

    python -m benchmarks.early_stopping CONFIG [--seeds 0 1 2] [--scheduler asha] [--set SECTION.KEY=VALUE] [--out DIR]

Both sides share corpus, teacher, logits, searcher and seed, and try as many trials. They part where the first trial is
stopped, since the searcher hears other results from there on: so that the savings that ``kdh-ray tune`` prints, against
the same trials run to their ends, are not the same as these.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas as pd

from kdh_ray.cli.tune import make_searcher
from kdh_ray.config import RunConfig, load_config
from kdh_ray.jobs.tuning import tune_stage
from kdh_ray.results import load_runs


def main() -> None:
    """Parse, search, print a line a side and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="a YAML file with a tune section")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--scheduler", default="asha", choices=["asha", "median"])
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--out", type=Path, default=Path("runs/early-stopping"))
    args = parser.parse_args()
    lines = [
        {"seed": seed, "scheduler": scheduler, **side(args, seed, scheduler)}
        for seed in args.seeds
        for scheduler in (args.scheduler, "none")
    ]
    print(pd.DataFrame(lines).to_string(index=False, float_format=lambda value: f"{value:.3f}"))


def side(args: argparse.Namespace, seed: int, scheduler: str) -> dict[str, Any]:
    """Search, or go on with the search; what it took and found."""
    settings = [*args.set, f"seed={seed}", f"tune.scheduler={scheduler}", f"cache={args.out / 'cache'}"]
    config: RunConfig = load_config(args.config, settings)
    out = args.out / f"{scheduler}-{seed}"
    tune_stage(config, make_searcher(config, args.config), out, resume=True, local=True)
    frame = load_runs(out)
    trials = frame[frame["kind"] == "trial"]
    best = frame[(frame["kind"] != "trial") & frame["run_id"].isin(load_runs(out / "best")["run_id"])]
    return {
        "trials": len(trials),
        "epochs": int(trials["epochs_run"].sum()),
        "full": int(trials["epochs_full"].sum()),
        "trial_seconds": trials["seconds"].sum(),
        "validation": trials["score"].max(),
        "test": best["test_f1_micro"].iloc[-1],
    }


if __name__ == "__main__":
    main()
