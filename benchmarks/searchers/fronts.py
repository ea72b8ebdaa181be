"""Searchers of several objectives: how much of the hypervolume they miss after 50 and 100 evaluations.

    python -m benchmarks.searchers.fronts [--seeds 5] [--workers 8] [--dimension 10] [--only NAME ...]

ZDT1, with a convex front, and ZDT2, with a concave one, are those of E. Zitzler, K. Deb and L. Thiele, "Comparison of
multiobjective evolutionary algorithms: empirical results", Evolutionary Computation 8, 2000. Hypervolume is measured
from the point (11, 11), as in BoTorch. Weights per particle were chosen over random ones on seeds 0 to 2 of ZDT1 to
ZDT3, so seeds start at 10 here.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.searchers.simulate import Make, peer, run
from kdh_ray.evaluation.fronts import hypervolume
from searchers import Float, ParetoSwarm, Space
from searchers.peers import OptunaTPE, RandomSearch

REFERENCE = (11.0, 11.0)
BUDGETS = (50, 100)
FIRST_SEED = 10
# The second objective of the front, by the first one.
FRONTS: dict[str, Callable[[Any], Any]] = {"ZDT1": lambda x: 1 - np.sqrt(x), "ZDT2": lambda x: 1 - x**2}


class NSGA2(OptunaTPE):
    """Optuna's NSGA-II (K. Deb et al., IEEE TEC 6, 2002), with a population of 20 for so few evaluations."""

    def __init__(self, space: Space, seed: int, budget: int | None, n_objectives: int = 1) -> None:
        super().__init__(space, seed, budget, n_objectives)
        import optuna

        self._study.sampler = optuna.samplers.NSGAIISampler(seed=seed, population_size=20)


def _swarm(**settings: Any) -> Make:
    return lambda space, seed, budget: ParetoSwarm(space, 2, seed=seed, budget=budget, **settings)


MAKERS: dict[str, Make] = {
    "pso": _swarm(),
    "pso-plain": _swarm(screening=False),
    "optuna-tpe": peer(partial(OptunaTPE, n_objectives=2)),
    "optuna-nsga2": peer(partial(NSGA2, n_objectives=2)),
    "random": peer(partial(RandomSearch, n_objectives=2)),
}


def zdt(name: str, config: dict[str, float]) -> tuple[float, float]:
    """Return both values of a configuration, to be minimised."""
    first, *others = config.values()
    g = 1 + 9 * float(np.mean(others))
    ratio = first / g
    return first, g * float(FRONTS[name](ratio))  # g h(f1 / g)


def missing(name: str, values: Any) -> float:
    """Return the share of the front's hypervolume that values, (n, 2), miss, in %."""
    xs = np.linspace(0, 1, 1001)
    whole = hypervolume(np.c_[xs, FRONTS[name](xs)], REFERENCE)
    return 100 * (1 - hypervolume(values, REFERENCE) / whole)


def main() -> None:
    """Print a line for each problem and searcher."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--dimension", type=int, default=10)
    parser.add_argument("--only", nargs="*", default=list(MAKERS))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    space = Space({f"x{i}": Float(0.0, 1.0) for i in range(arguments.dimension)})
    for problem in FRONTS:
        for name in arguments.only:
            misses = []
            for seed in range(FIRST_SEED, FIRST_SEED + arguments.seeds):
                searcher = MAKERS[name](space, seed, BUDGETS[-1])
                done = run(searcher, partial(zdt, problem), BUDGETS[-1], arguments.workers, seed)  # type: ignore[arg-type]
                misses.append([missing(problem, done.values[:n]) for n in BUDGETS])
            means, spreads = np.mean(misses, axis=0), np.std(misses, axis=0, ddof=1)
            shown = ", ".join(f"{m:.1f} ± {s:.1f} at {n}" for m, s, n in zip(means, spreads, BUDGETS, strict=True))
            print(f"{problem} {name}: misses {shown}", flush=True)


if __name__ == "__main__":
    main()
