"""Search with early stopping: MF-Hartmann (`mf-prior-bench`) under a simulated asynchronous successive halving.

    python -m benchmarks.searchers.fidelity [--seeds 10] [--workers 8] [--trials 60]

A trial's fidelity is 1 to 100, its cost grows with it (times a log-normal factor a trial), rungs are at 11 and 33 with
reduction factor 3 and the stopping rule of Ray's ASHAScheduler: a trial goes on if it is among the best third of those
that have reached the rung. Plain random search runs every trial to the end; the others have as much simulated time as
that took, and start trials until it is over. Regret is of the best full run.
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

RUNGS, FULL, REDUCTION = (11, 33), 100, 3
OPTIMA = {"mfh3": -3.86278, "mfh6": -3.32237}
# That screening pauses under early stopping was decided on the terrible ones and on mfh3_moderate.
BENCHMARKS = ("mfh3_good", "mfh6_moderate", "mfh6_good")

Curve = Callable[[dict[str, Any], int], float]


def load(name: str) -> tuple[Space, Curve, float]:
    import mfpbench

    bench = mfpbench.get(name, seed=0)
    n = 3 if name.startswith("mfh3") else 6

    def query(config: dict[str, Any], at: int) -> float:
        return float(bench.query(config, at=at).error)

    return Space({f"X_{i}": Float(0.0, 1.0) for i in range(n)}), query, OPTIMA[name[:4]]


def simulate(
    searcher: Any, curve: Curve, workers: int, trials: int, seed: int, until: float | None
) -> list[tuple[float, float]]:
    """(time, value) of the full runs, in order of time. With ``until``, trials are stopped early, and all then."""
    stop = until is not None
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
        if until is not None and now > until:
            break
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
    """When a full run first was as good as ``target``."""
    return next(time for time, value in full if value <= target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--trials", type=int, default=60)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    methods = ("random", "random+asha", "optuna-tpe+asha", "pso+asha")
    print("| problem | method | time to random's final value, over random's own | not in time | final regret |")
    print("|---|---|---|---|---|")
    for name in BENCHMARKS:
        space, curve, optimum = load(name)
        times: dict[str, list[float]] = {method: [] for method in methods}
        missed = dict.fromkeys(methods, 0)
        regrets: dict[str, list[float]] = {method: [] for method in methods}
        for seed in range(arguments.seeds):
            target, end = 0.0, None
            for method in methods:
                n = arguments.trials if end is None else 8 * arguments.trials
                searcher = PEERS[method.partition("+")[0]](space, seed, n)
                full = simulate(searcher, curve, arguments.workers, n, seed, end)
                best = min(value for _, value in full)
                if end is None:
                    target, end = best, full[-1][0]
                times[method].append(time_to(full, target) if best <= target else end)
                missed[method] += best > target
                regrets[method].append(best - optimum)
        for method in methods:
            share = np.mean(times[method]) / np.mean(times["random"])
            regret = np.mean(regrets[method])
            print(
                f"| {name} | {method} | {share:.2f} | {missed[method]}/{arguments.seeds} | {regret:.3f} |", flush=True
            )


if __name__ == "__main__":
    main()
