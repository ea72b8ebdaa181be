"""Search with early stopping: MF-Hartmann (`mf-prior-bench`) under a simulated asynchronous successive halving.

    python -m benchmarks.searchers.fidelity [--seeds 10] [--workers 8] [--trials 150]

A trial's fidelity is 1 to 100, its cost grows with it (times a log-normal factor a trial), rungs are at 1, 4, 16 and 64
with reduction factor 4 and the stopping rule of Ray's ASHAScheduler: a trial goes on if it is among the best quarter of
those that have reached the rung. Regret is of the best full run so far. Random search runs every trial to the end.
"""

from __future__ import annotations

import argparse
import heapq
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.searchers.simulate import PEERS
from searchers import Float, Space

RUNGS, FULL, REDUCTION = (1, 4, 16, 64), 100, 4
OPTIMA = {"mfh3": -3.86278, "mfh6": -3.32237}
BENCHMARKS = ("mfh3_terrible", "mfh3_moderate", "mfh6_terrible", "mfh6_moderate", "mfh6_good")

Curve = Callable[[dict[str, Any], int], float]


def load(name: str) -> tuple[Space, Curve, float]:
    import mfpbench

    bench = mfpbench.get(name, seed=0)
    n = 3 if name.startswith("mfh3") else 6

    def query(config: dict[str, Any], at: int) -> float:
        return float(bench.query(config, at=at).error)

    return Space({f"X_{i}": Float(0.0, 1.0) for i in range(n)}), query, OPTIMA[name[:4]]


def simulate(
    searcher: Any, curve: Curve, workers: int, trials: int, seed: int, stop: bool
) -> list[tuple[float, float]]:
    """(time, value) of the full runs, in order of time."""
    pace = np.random.default_rng([seed, 77]).lognormal(0.0, 1.0, trials) / FULL
    reached: dict[int, list[float]] = {rung: [] for rung in RUNGS}
    events: list[tuple[float, int, int, int, dict[str, Any]]] = []
    full: list[tuple[float, float]] = []
    now, asked = 0.0, 0
    steps = (*RUNGS, FULL) if stop else (FULL,)
    while asked < trials or events:
        while asked < trials and len(events) < workers:
            move = searcher.ask()
            if move is None:
                break
            heapq.heappush(events, (now + pace[asked] * steps[0], asked, 0, move.id, move.config))
            asked += 1
        now, number, step, move_id, config = heapq.heappop(events)
        value = curve(config, steps[step])
        if steps[step] == FULL:
            searcher.tell(move_id, value, FULL)
            full.append((now, value))
            continue
        others = reached[steps[step]]
        others.append(value)
        if value > np.quantile(others, 1 / REDUCTION) and len(others) > 1:
            searcher.tell(move_id, value, steps[step])
        else:
            duration = pace[number] * (steps[step + 1] - steps[step])
            heapq.heappush(events, (now + duration, number, step + 1, move_id, config))
    return full


def time_to(full: list[tuple[float, float]], target: float) -> float:
    """When a full run first was as good as ``target``; the end, if none was (which flatters)."""
    return next((time for time, value in full if value <= target), full[-1][0] if full else float("inf"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--trials", type=int, default=150)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    methods = {"random": False, "random+asha": True, "optuna-tpe+asha": True, "pso-plain+asha": True, "pso+asha": True}
    print("| problem | method | time to random's final value, over random's own | never got there | final regret |")
    print("|---|---|---|---|---|")
    for name in BENCHMARKS:
        space, curve, optimum = load(name)
        ratios: dict[str, list[float]] = {method: [] for method in methods}
        missed = dict.fromkeys(methods, 0)
        regrets: dict[str, list[float]] = {method: [] for method in methods}
        for seed in range(arguments.seeds):
            target, at = 0.0, 1.0
            for method, stop in methods.items():
                searcher = PEERS[method.partition("+")[0]](space, seed, arguments.trials)
                full = simulate(searcher, curve, arguments.workers, arguments.trials, seed, stop)
                best = min(value for _, value in full)
                if method == "random":
                    target, at = best, time_to(full, best)
                ratios[method].append(time_to(full, target) / at)
                missed[method] += best > target
                regrets[method].append(best - optimum)
        for method in methods:
            print(
                f"| {name} | {method} | {np.mean(ratios[method]):.2f} | {missed[method]}/{arguments.seeds} | "
                f"{np.mean(regrets[method]):.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
