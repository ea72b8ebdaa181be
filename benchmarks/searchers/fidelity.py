"""Searches with early stopping: MF-Hartmann (`mf-prior-bench`) under simulated asynchronous successive halving.

    python -m benchmarks.searchers.fidelity [--seeds 10] [--workers 8] [--trials 60] [--only NAME ...] [--tables F ...]

A trial's fidelity is 1 to 100, and its cost is proportional to it, with a log-normal factor per trial. Rungs are at 11
and 33, with reduction factor 3 and the rule of Ray's ASHAScheduler: a trial continues if it is among the best third of
those that reached the rung. Plain random search runs every trial to the end. The others have as much simulated time as
that took, and start trials until it is over. Regret is that of the best full run.

``--only ... dehb`` adds DEHB 0.1.2, which chooses the fidelity of each run itself and starts each run anew.

``--tables`` replays real trials of a few epochs (tables of ``benchmarks.collect_trials``) instead. Rungs are then at
epochs 1, 3, 9, ..., and regret is 0 at the best configuration and 1 at the median one.
"""

from __future__ import annotations

import argparse
import heapq
import json
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.searchers.problems import trials as replayed
from benchmarks.searchers.simulate import PEERS
from searchers import Float, Space

RUNGS, FULL, REDUCTION = (11, 33), 100, 3
METHODS = ("random", "random+asha", "optuna-tpe+asha", "pso+asha")
OPTIMA = {"mfh3": -3.86278, "mfh6": -3.32237}
# Screening under early stopping was designed on other ones: the terrible ones, mfh3_moderate and mfh6_bad.
BENCHMARKS = ("mfh3_good", "mfh6_moderate", "mfh6_good")

Curve = Callable[[dict[str, Any], int], float]  # configuration, fidelity -> value


@dataclass(frozen=True)
class Task:
    """A learning curve to minimise at the full fidelity.

    Attributes:
        name: Name of the task.
        space: Its search space.
        curve: Function from a configuration and a fidelity to a value.
        steps: Fidelities: the rungs, then the full one.
        regret: Function from a value at the full fidelity to its regret.
    """

    name: str
    space: Space
    curve: Curve
    steps: tuple[int, ...]
    regret: Callable[[float], float]


def hartmann(name: str) -> Task:
    """Return a function of `mf-prior-bench`."""
    import mfpbench

    bench = mfpbench.get(name, seed=0)
    n = 3 if name.startswith("mfh3") else 6

    def query(config: dict[str, Any], at: int) -> float:
        return float(bench.query(config, at=at).error)

    space = Space({f"X_{i}": Float(0.0, 1.0) for i in range(n)})
    return Task(name, space, query, (*RUNGS, FULL), lambda value: value - OPTIMA[name[:4]])


def table(file: str) -> Task:
    """Return the replay of real trials of a grid, epoch by epoch."""
    import pandas as pd

    problem, frame = replayed(file), pd.read_parquet(file)
    names = [f"config_{name}" for name in problem.space.tree]
    keys = frame[names].itertuples(index=False, name=None)
    curves = {key: json.loads(curve) for key, curve in zip(keys, frame["curve"], strict=True)}
    (epochs,) = {len(curve) for curve in curves.values()}

    def query(config: dict[str, Any], at: int) -> float:
        return 1.0 - float(curves[tuple(config[name] for name in problem.space.tree)][at - 1])

    rungs = [REDUCTION**k for k in range(epochs) if REDUCTION**k < epochs]
    return Task(problem.name, problem.space, query, (*rungs, epochs), problem.regret)


def simulate(
    searcher: Any, task: Task, workers: int, trials: int, seed: int, until: float | None
) -> list[tuple[float, float]]:
    """Simulate a search.

    Args:
        searcher: Optimiser with ask and tell.
        task: The task.
        workers: Number of workers.
        trials: Largest number of trials.
        seed: Seed of the trials' durations.
        until: Time at which the search ends; trials are then also stopped early. None runs every trial to its end.

    Returns:
        (time, value) of the full runs, in order of time.
    """
    *rungs, full_at = task.steps
    pace = np.random.default_rng([seed, 77]).lognormal(0.0, 1.0, trials) / full_at  # time per unit of fidelity
    reached: dict[int, list[float]] = {rung: [] for rung in rungs}
    events: list[tuple[float, int, int, int, dict[str, Any]]] = []  # end, trial, step, move id, configuration
    full: list[tuple[float, float]] = []
    now, asked = 0.0, 0
    steps = (full_at,) if until is None else task.steps
    while True:
        while asked < trials and len(events) < workers:
            move = searcher.ask()
            if move is None:
                break
            heapq.heappush(events, (now + pace[asked] * steps[0], asked, 0, move.id, move.config))
            asked += 1
        if not events or (until is not None and events[0][0] > until):
            return full
        now, number, step, move_id, config = heapq.heappop(events)
        value = task.curve(config, steps[step])
        if steps[step] == full_at:
            searcher.tell(move_id, value, full_at)
            full.append((now, value))
            continue
        searcher.report(move_id, value, steps[step])
        others = reached[steps[step]]
        others.append(value)
        if value > np.quantile(others, 1 / REDUCTION) and len(others) > 1:
            searcher.tell(move_id, value, steps[step])
        else:
            duration = pace[number] * (steps[step + 1] - steps[step])
            heapq.heappush(events, (now + duration, number, step + 1, move_id, config))


def simulate_dehb(task: Task, workers: int, runs: int, seed: int, until: float) -> list[tuple[float, float]]:
    """Simulate a search, like `simulate`, by at most ``runs`` runs of DEHB (N. Awad et al., IJCAI 2021)."""
    from dehb import DEHB

    full_at = task.steps[-1]
    pace = np.random.default_rng([seed, 77]).lognormal(0.0, 1.0, runs) / full_at
    events: list[tuple[float, int, int, Any]] = []
    full: list[tuple[float, float]] = []
    now, asked = 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        optimiser = DEHB(
            dimensions=task.space.n_dims, min_fidelity=task.steps[0], max_fidelity=full_at, eta=REDUCTION,
            n_workers=1, seed=seed, save_freq="end", output_path=folder,
        )  # fmt: skip  # more n_workers would start processes; any number of jobs may be pending
        while True:
            while asked < runs and len(events) < workers:
                job = optimiser.ask()
                step = min(task.steps, key=lambda at: abs(at - job["fidelity"]))
                heapq.heappush(events, (now + pace[asked] * step, asked, step, job))
                asked += 1
            if not events or events[0][0] > until:
                return full
            now, _, step, job = heapq.heappop(events)
            value = task.curve(task.space.decode(np.asarray(job["config"])), step)
            optimiser.tell(job, {"fitness": value, "cost": step})
            if step == full_at:
                full.append((now, value))


def time_to(full: list[tuple[float, float]], target: float) -> float:
    """Return the time of the first full run with a value of at most ``target``."""
    return next(time for time, value in full if value <= target)


def main() -> None:
    """Simulate every method on every task and print a Markdown table."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--only", nargs="+", default=METHODS, choices=(*METHODS, "dehb"), help="in addition to random")
    parser.add_argument("--tables", nargs="+", metavar="FILE")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    tasks = [table(file) for file in arguments.tables] if arguments.tables else map(hartmann, BENCHMARKS)
    heads = ("problem", "method", "time to random's final value / random's own", "/ random's whole time")
    print(f"| {' | '.join(heads)} | not in time | final regret |\n{'|---' * 6}|")
    for task in tasks:
        methods = ("random", *(method for method in arguments.only if method != "random"))
        compare(task, methods, arguments.seeds, arguments.trials, arguments.workers)


def compare(task: Task, methods: tuple[str, ...], seeds: int, trials: int, workers: int) -> None:
    """Print one line per method, plain random search first. Regret is mean ± standard deviation over seeds.

    Times to random search's final value are shares of two times of random search itself: when it first reached that
    value, and when it ended.
    """
    times: dict[str, list[float]] = {method: [] for method in methods}
    ends: list[float] = []
    missed = dict.fromkeys(methods, 0)
    regrets: dict[str, list[float]] = {method: [] for method in methods}
    for seed in range(seeds):
        target, end = 0.0, None
        for method in methods:
            n = trials if end is None else 8 * trials
            if method == "dehb" and end is not None:
                full = simulate_dehb(task, workers, n * len(task.steps), seed, end)
            else:
                searcher = PEERS[method.partition("+")[0]](task.space, seed, n)
                full = simulate(searcher, task, workers, n, seed, end)
            best = min(value for _, value in full)
            if end is None:
                target, end = best, full[-1][0]
                ends.append(end)
            times[method].append(time_to(full, target) if best <= target else end)
            missed[method] += best > target
            regrets[method].append(task.regret(best))
    for method in methods:
        own, whole = (np.mean(times[method]) / np.mean(reference) for reference in (times["random"], ends))
        regret = f"{np.mean(regrets[method]):.3f} ± {np.std(regrets[method], ddof=1):.3f}"
        shares = f"{own:.2f} | {whole:.2f}"
        print(f"| {task.name} | {method} | {shares} | {missed[method]}/{seeds} | {regret} |", flush=True)


if __name__ == "__main__":
    main()
