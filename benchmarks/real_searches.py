"""Compare searchers and schedulers in real searches of one stage, after equal numbers of epochs of training.

    python -m benchmarks.real_searches CONFIG [--sides pso/asha optuna-tpe/asha random/asha random/none] [--seeds 0 1 2]
        [--set SECTION.KEY=VALUE] [--out DIR]

A side is a searcher and a scheduler. All sides share the corpus and a teacher, which is trained once, and start from
the stage's own settings. A seed is that of the searcher and of every trial's training. Scores are validation micro F1,
except for ``test``: the best configuration of each search predicts the test split once. An epoch counts when its trial
ends; all sides are compared after as many epochs as the shortest search had.

To see what early stopping saves, compare two sides of one searcher. The two searches differ from the first stopped
trial on, because the searcher then receives other results. ``kdh-ray tune`` prints something else: the saving against
the same trials run to their ends.

Called again, the script resumes unfinished searches. ``benchmarks.collect_trials --searches`` stores the trials.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from kdh_ray.config import load_config
from kdh_ray.jobs.run import run
from kdh_ray.jobs.stage_search import search as search_stage
from kdh_ray.jobs.stage_search.space import tuned_stage
from kdh_ray.run_folder import RunFolder

if TYPE_CHECKING:
    import pandas as pd

SIDES = ("pso/asha", "optuna-tpe/asha", "random/asha", "random/none")


def main() -> None:
    """Search; print a line per search, then the means."""
    import pandas as pd

    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="configuration with a teacher and a tune section")
    parser.add_argument("--sides", nargs="+", default=SIDES, metavar="SEARCHER/SCHEDULER", help="sides to compare")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="a search per side and seed")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change a setting")
    parser.add_argument("--out", type=Path, default=Path("runs/searches"), help="folder of the searches")
    args = parser.parse_args()
    settings = [*args.set, f"cache={args.out / 'cache'}"]
    settings += from_teacher(args.config, settings, args.out / "teacher")
    searches: dict[tuple[str, int], pd.DataFrame] = {}
    for seed, side in product(args.seeds, args.sides):
        searches[side, seed] = search(args.config, [*settings, f"seed={seed}"], side, args.out / side / str(seed))
        print(f"seed {seed}  {side:20}", *(f"{k} {v:g}" for k, v in summary(searches[side, seed]).items()), flush=True)
    # The effort that every search has made; sides are compared at equal effort.
    common = min(summary(frame)["epochs"] for frame in searches.values())
    lines = [
        {"side": side, "seed": seed, **summary(frame), f"after {common:g}": 100 * best_after(frame, common)}
        for (side, seed), frame in searches.items()
    ]
    print(pd.DataFrame(lines).drop(columns="seed").groupby("side").agg(["mean", "std"]).round(2).to_string())


def from_teacher(config_file: str, settings: list[str], out: Path) -> list[str]:
    """Train the teacher once; return the settings with which the tuned stage starts and learns from it."""
    config = load_config(config_file, settings)
    name = tuned_stage(config)
    (teacher,) = config.stages[name].teachers
    run(config, out, stages=[teacher], local=True)
    checkpoint = RunFolder(out).stage(teacher).checkpoint
    return [f"stages.{name}.start={checkpoint}", f"stages.{name}.teachers=[{checkpoint}]"]


def search(config_file: str, settings: list[str], side: str, out: Path) -> pd.DataFrame:
    """Run or resume a search and return its rows."""
    searcher, scheduler = side.split("/")
    config = load_config(config_file, [*settings, f"tune.searcher={searcher}", f"tune.scheduler={scheduler}"])
    return search_stage(config, out, resume=True, local=True)


def summary(frame: pd.DataFrame) -> dict[str, float]:
    """Return the effort and the scores (in %) of a search."""
    trials = frame[frame["kind"] == "trial"]
    best = frame[frame["kind"] != "trial"].iloc[-1]
    return {
        "trials": len(trials),
        "epochs": float(trials["epochs_run"].sum()),
        "whole trials": float(trials["epochs_full"].sum()),
        "seconds of trials": float(trials["seconds"].sum()),
        "validation": 100 * float(trials["score"].max()),
        "test": 100 * float(best["test_f1_micro"]),
    }


def best_after(frame: pd.DataFrame, epochs: float) -> float:
    """Return the best validation score of the trials that had ended after ``epochs`` epochs of training in all."""
    import pandas as pd

    trials = frame[frame["kind"] == "trial"]
    ends = pd.to_datetime(trials["started"]) + pd.to_timedelta(trials["seconds"], unit="s")
    trials = trials.loc[ends.sort_values().index]
    return float(trials.loc[trials["epochs_run"].cumsum() <= epochs, "score"].max())


if __name__ == "__main__":
    main()
