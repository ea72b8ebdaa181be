"""Measure what a trial costs in addition to its training, and how to share two cores among trials.

    python -m benchmarks.trial_cost [--trials 8] [--documents 160] [--encoder embedded]

Three measurements in one run, on a local Ray of two CPUs:

* the fixed cost: seconds from the end of one trial to the end of the next in the same worker, less the second trial's
  training; the first trial, which starts the worker, is not counted;
* for comparison, a Ray Train ``TorchTrainer`` with one worker that does nothing, inside the same session;
* documents per second of the same trials, two at a time with one thread each and one at a time with two threads.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from kdh_ray.cluster.session import ray_session
from kdh_ray.config import JobConfig, RunConfig, parse_config
from kdh_ray.data import corpus_from_config
from kdh_ray.jobs.stage_search.plan import SearchPlan
from kdh_ray.jobs.stage_search.trial_task import trial_task
from kdh_ray.run_folder import RunFolder
from kdh_ray.tuning import TuneSettings, tune
from kdh_ray.tuning.trials import Trial
from searchers.factory import make_searcher

CORES = 2
SCORE = "validation_f1_micro"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=8, help="number of trials of each search")
    parser.add_argument("--documents", type=int, default=160, help="documents of the synthetic corpus, in all splits")
    parser.add_argument("--encoder", default="embedded", help="embedded, a folder or a hub name")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ray_session(JobConfig(), cpus=CORES):
        job = median(empty_job(Path(folder) / f"job-{number}") for number in range(3))
        side_by_side, _ = search(args.trials, args.documents, Path(folder) / "two", 1, args.encoder)
        one, costs = search(args.trials, args.documents, Path(folder) / "one", CORES, args.encoder)
    print(f"fixed cost of a trial in a reused worker: {median(costs):.2f} s ({min(costs):.2f} to {max(costs):.2f})")
    print(f"a TorchTrainer that does nothing: {job:.1f} s")
    print(f"2 trials of 1 thread: {side_by_side:.1f} documents/s; 1 trial of 2 threads: {one:.1f} documents/s")


def fixed_costs(trials: int, documents: int) -> tuple[float, float]:
    """Return the seconds that a trial costs in addition to its training, and those of a Ray Train job."""
    with tempfile.TemporaryDirectory() as folder, ray_session(JobConfig(), cpus=CORES):
        _, costs = search(trials, documents, Path(folder) / "search", CORES)
        return median(costs), empty_job(Path(folder) / "job")


def configuration(documents: int, threads: int, encoder: str) -> RunConfig:
    """Return a configuration whose trials differ only in the learning rate, which does not change their cost."""
    space = {"learning_rate": {"low": 1e-5, "high": 1e-3, "log": True}}
    tree = {
        "name": "trial-cost",
        "data": {"corpus": "synthetic", "documents": documents, "max_tokens": 128, "segments": False},
        "stages": {"student": {"start": encoder, "epochs": 1}},
        "tune": {"stage": "student", "space": space, "cpus_per_trial": threads, "scheduler": "none"},
    }
    return parse_config(tree)


def search(
    trials: int, documents: int, folder: Path, threads: int, encoder: str = "embedded"
) -> tuple[float, list[float]]:
    """Return documents per second and each trial's seconds without training; the first trials are not counted."""
    from ray.tune import with_parameters

    from kdh_ray.jobs.stage_search.trial import StageTrial

    config = configuration(documents, threads, encoder)
    plan = SearchPlan(config, RunFolder(folder), "student")
    corpus, ends = corpus_from_config(config.data), []

    def listener(trial: Trial) -> None:
        if trial.ended:
            ends.append((perf_counter(), trial.seconds))

    tune(
        with_parameters(StageTrial, task=trial_task(plan, corpus, on_gpu=False)),
        plan.domains,
        TuneSettings(trials=trials, metric=SCORE, resources={"CPU": threads}, concurrency=CORES // threads),
        searcher=make_searcher("random", seed=0, budget=trials),
        storage=folder / "search",
        listener=listener,
    )
    first = CORES // threads  # these trials started a worker
    counted, started = ends[first:], ends[first - 1][0]
    rate = len(counted) * len(corpus.splits["train"]) / (counted[-1][0] - started)
    # Each end with the one before it; what is not training between the two is the fixed cost.
    gaps = zip(ends[first - 1 :], counted, strict=False)
    return rate, [end - before - seconds for (before, _), (end, seconds) in gaps]


def empty_job(folder: Path) -> float:
    """Return the seconds of a Ray Train job with one worker that does nothing."""
    from ray.train import RunConfig as TrainRun
    from ray.train import ScalingConfig
    from ray.train.torch import TorchTrainer

    def nothing(config: dict[str, Any]) -> None:
        pass

    started = perf_counter()
    TorchTrainer(
        nothing,
        train_loop_config={},
        scaling_config=ScalingConfig(num_workers=1),
        run_config=TrainRun(name="nothing", storage_path=str(folder)),
    ).fit()
    return perf_counter() - started


if __name__ == "__main__":
    main()
