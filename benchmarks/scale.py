"""Scaling of a search: 1 to 1,024 workers in simulated time, and the two serial parts of a real search.

    python -m benchmarks.scale workers [--workers 1 4 16 64 256 1024] [--seeds 3] [--trials FILE]
    python -m benchmarks.scale busy [--workers ...] [--seeds 3]
    python -m benchmarks.scale suggestions      # CPU time of a suggestion
    python -m benchmarks.scale controller [--count 200]   # CPU time of Ray Tune's controller, by trials that do nothing

``workers``: durations of trials are drawn from those of real ones (``seconds`` of ``--trials``, divided by their mean);
an epoch is a third of a trial. Errors are the mean of a Gaussian process of the real trials' scores, one per epoch: a
table of 144 configurations is too small for 1,024 workers. Regret is 0 at the optimum, and 1 at the median of random
configurations. Times are in mean durations of a trial. ``random+asha`` and ``pso+asha`` stop all but the best third at
epoch 1. A run ends at the last target, or after 200 trials plus 4 per worker.

``busy``: a run has ten trials per worker with random values, since the first trials of a search keep any number of
workers busy.
"""

from __future__ import annotations

import argparse
import heapq
import json
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.searchers.busy import milliseconds
from benchmarks.searchers.simulate import PEERS, Make, swarm
from searchers import Categorical, Float, Space

TRIALS = "benchmarks/data/trials-synthetic.parquet"
TARGETS = (0.2, 0.1, 0.05)
EPOCHS, REDUCTION = 3, 3
MAX_EVALUATIONS = 4096  # of a run; a target that is not reached by then counts as missed


@dataclass(frozen=True)
class Task:
    """Real trials as a problem.

    Attributes:
        space: The search space.
        error: Function from a configuration and an epoch to the error.
        best: Smallest error after the last epoch.
        typical: Median error of random configurations after the last epoch.
        durations: Durations of the trials, divided by their mean, (n_trials,).
    """

    space: Space
    error: Callable[[dict[str, Any], int], float]
    best: float
    typical: float
    durations: np.ndarray[Any, Any]

    def regret(self, value: float) -> float:
        """Return the regret of an error: 0 at the best, 1 at the median of random configurations."""
        return (value - self.best) / (self.typical - self.best)


def real_task(file: str) -> Task:
    """Return the task of a table of ``benchmarks.collect_trials``."""
    import pandas as pd
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, WhiteKernel

    frame = pd.read_parquet(file)
    names = [name for name in frame if name.startswith("config_")]
    numeric = [name for name in names if pd.api.types.is_numeric_dtype(frame[name])]
    space = Space(
        {
            name: Float(float(frame[name].min()), float(frame[name].max()), log=name.endswith("rate"))
            if name in numeric
            else Categorical(sorted(frame[name].unique()))
            for name in names
        }
    )
    points = np.array([space.encode(row) for row in frame[names].to_dict("records")])  # (n_trials, n_dims)
    curves = np.array([json.loads(curve) for curve in frame["curve"]])  # (n_trials, EPOCHS) scores
    models = []
    for epoch in range(EPOCHS):
        kernel = RBF(np.ones(points.shape[1])) + WhiteKernel(0.1)
        model = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0).fit(points, 1 - curves[:, epoch])
        models.append(model)

    def error(config: dict[str, Any], epoch: int = EPOCHS) -> float:
        return float(models[epoch - 1].predict(space.encode(config)[None])[0])

    rng = np.random.default_rng(0)
    sample = np.array(
        [space.encode(space.decode(space.from_uniform(rng.random(space.n_parameters)))) for _ in range(20_000)]
    )
    values = models[-1].predict(sample)
    durations = frame["seconds"].to_numpy() / frame["seconds"].mean()
    return Task(space, error, float(values.min()), float(np.median(values)), durations)


@dataclass
class Run:
    """A simulated search.

    Attributes:
        times: Time at which each target was reached; NaN if it wasn't.
        busy: Share of the workers' time in use until the last ask.
        evaluations: Number of trials.
    """

    times: list[float]
    busy: float
    evaluations: int


def simulate(
    searcher: Any, task: Task, workers: int, seed: int, early: bool, budget: int, to_target: bool = True
) -> Run:
    """Simulate a search: each worker asks, trains its trial until it ends or is stopped, tells, and asks again.

    Args:
        searcher: Optimiser with ask and tell.
        task: The task.
        workers: Number of workers.
        seed: Seed of the trials' durations.
        early: Stop all but the best third of the trials after epoch 1.
        budget: Largest number of trials.
        to_target: End the run once the last target is reached.
    """
    drawn = np.random.default_rng([seed, 77]).choice(task.durations, budget)
    steps = (1, EPOCHS) if early else (EPOCHS,)
    events: list[tuple[float, int, int, Any]] = []  # end, trial, step, move
    at_first: list[float] = []  # errors at the first rung
    ends: list[tuple[float, float]] = []  # start and end of each stretch of training
    times = [float("nan")] * len(TARGETS)
    now, asked, used, last_ask, best = 0.0, 0, 0.0, 0.0, float("inf")

    def begin(number: int, step: int, move: Any) -> None:
        share = (steps[step] - (steps[step - 1] if step else 0)) / EPOCHS
        ends.append((now, now + drawn[number] * share))
        heapq.heappush(events, (ends[-1][1], number, step, move))

    while True:
        while asked < budget and len(events) < workers:
            move = searcher.ask()
            if move is None:
                break
            begin(asked, 0, move)
            asked, last_ask = asked + 1, now
        if not events or (to_target and not np.isnan(times[-1])):
            break
        now, number, step, move = heapq.heappop(events)
        value = task.error(move.config, steps[step])
        if steps[step] < EPOCHS:
            at_first.append(value)
            if len(at_first) == 1 or value <= np.quantile(at_first, 1 / REDUCTION):
                begin(number, step + 1, move)
            else:
                searcher.tell(move.id, value, steps[step])
            continue
        searcher.tell(move.id, value, *((EPOCHS,) if early else ()))
        best = min(best, value)
        for i, target in enumerate(TARGETS):
            if np.isnan(times[i]) and task.regret(best) <= target:
                times[i] = now
    used = sum(max(0.0, min(end, last_ask) - start) for start, end in ends)  # workers run empty after it
    return Run(times, used / (workers * last_ask) if last_ask else 1.0, asked)


def methods(workers: int) -> dict[str, tuple[Make, bool]]:
    """Return searchers by name, and True for those whose trials are stopped early.

    A generation has as many particles as there are workers, at least 10.
    """
    size = max(10, workers)
    return {
        "pso": (PEERS["pso"], False),
        "pso-plain": (PEERS["pso-plain"], False),
        "pso-generational": (swarm(n_particles=size, screening=False, generational=True), False),
        "random": (PEERS["random"], False),
        "pso+asha": (PEERS["pso"], True),
        "random+asha": (PEERS["random"], True),
    }


def scale_workers(counts: list[int], seeds: int, file: str) -> None:
    """Print a table of the mean time to each target, by number of workers."""
    task = real_task(file)
    print("| workers | method | " + " | ".join(f"time to regret {t}" for t in TARGETS) + " | missed | trials |")
    print("|---" * (4 + len(TARGETS)) + "|")
    for workers in counts:
        for name, (make, early) in methods(workers).items():
            budget = min(MAX_EVALUATIONS, 200 + 4 * workers)
            runs = [simulate(make(task.space, s, budget), task, workers, s, early, budget) for s in range(seeds)]
            times = np.array([run.times for run in runs])  # (seeds, n_targets)
            cells = ["–" if np.isnan(column).any() else f"{column.mean():.2f}" for column in times.T]
            missed = int(np.isnan(times[:, -1]).sum())
            trials = np.mean([run.evaluations for run in runs])
            print(f"| {workers} | {name} | {' | '.join(cells)} | {missed}/{seeds} | {trials:.0f} |", flush=True)


def busy(counts: list[int], seeds: int, file: str) -> None:
    """Print a table of the share of the workers' time in use until the last ask, by number of workers."""
    task, rng = real_task(file), np.random.default_rng(0)
    task = replace(task, error=lambda config, epoch: float(rng.random()))
    names = ("pso-plain", "pso-generational", "random", "random+asha")
    print("| workers | " + " | ".join(names) + " |\n|---|---|---|---|---|")
    for workers in counts:
        budget, shares = 10 * max(10, workers), []
        for make, early in (methods(workers)[name] for name in names):
            runs = [simulate(make(task.space, s, budget), task, workers, s, early, budget, False) for s in range(seeds)]
            shares.append(np.mean([run.busy for run in runs]))
        print(f"| {workers} | " + " | ".join(f"{share:.2f}" for share in shares) + " |", flush=True)


def suggestions() -> None:
    """Print a table of the CPU time of ask and tell, by number of results."""
    print("| results | screened move | plain move |\n|---|---|---|")
    for count in (100, 1000, 4000):
        screened, plain = (milliseconds(count, 5, screening) for screening in (True, False))
        print(f"| {count} | {screened:.1f} ms | {plain:.2f} ms |", flush=True)


def controller(counts: list[int]) -> None:
    """Print a table of CPU and wall time per trial of the searching process: plain Ray Tune, and with the ledger."""
    from ray import tune as ray_tune

    from kdh_ray.cluster.session import ray_session
    from kdh_ray.config import JobConfig
    from kdh_ray.tuning import TuneSettings, tune
    from searchers.factory import make_searcher

    class Nothing(ray_tune.Trainable):  # type: ignore[misc]
        def step(self) -> dict[str, Any]:
            return {"score": self.config["x"], "done": True}

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.config = new_config
            return True

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            return None

    space = {"x": ray_tune.uniform(0.0, 1.0)}
    print("| trials | search | CPU ms per trial | wall ms per trial |\n|---|---|---|---|")
    with ray_session(JobConfig()):
        for count in counts:
            for name in ("Ray Tune", "with ledger"):
                with tempfile.TemporaryDirectory() as folder:
                    cpu, wall = time.process_time(), time.perf_counter()
                    if name == "with ledger":
                        searcher = make_searcher("random", seed=0)
                        tune(Nothing, space, TuneSettings(count, "score"), searcher=searcher, storage=folder)
                    else:
                        settings = ray_tune.TuneConfig(metric="score", mode="max", num_samples=count, reuse_actors=True)
                        where = ray_tune.RunConfig(storage_path=folder, verbose=0)
                        ray_tune.Tuner(Nothing, param_space=space, tune_config=settings, run_config=where).fit()
                    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
                print(f"| {count} | {name} | {1e3 * cpu / count:.0f} | {1e3 * wall / count:.0f} |", flush=True)


def main() -> None:
    """Print the table that the command line names."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("workers", "busy", "suggestions", "controller"))
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4, 16, 64, 256, 1024])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", default=TRIALS)
    parser.add_argument("--count", type=int, nargs="+", default=[100])
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.what == "workers":
        scale_workers(args.workers, args.seeds, args.trials)
    elif args.what == "busy":
        busy(args.workers, args.seeds, args.trials)
    elif args.what == "suggestions":
        suggestions()
    else:
        controller(args.count)


if __name__ == "__main__":
    main()
