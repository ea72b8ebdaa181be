"""True regret of what searchers recommend where every evaluation is noisy.

    python -m benchmarks.searchers.noise OUT.json [--seeds 3] [--sigma 1 5] [--dimension 5] [--only NAME ...]

The problems are BBOB's 24 functions under Gaussian noise. Its standard deviation is a multiple of the signal's, which
is half the distance of the 16th from the 84th percentile of random configurations' values. What a searcher recommends
after the whole budget is judged by its value without noise. Random search and TPE recommend the configuration with the
lowest noisy value, as their packages do, and Nevergrad's optimisers what they recommend themselves.

The settings of the noisy swarm were chosen on the instances 11 to 13 in 5 dimensions; this uses the 8th to 10th.
Finished cells are stored in OUT.json and skipped when the program is run again.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.searchers.problems import Problem, bbob
from benchmarks.searchers.simulate import Make, nevergrad, peer, run, swarm
from searchers.peers import OptunaTPE, RandomSearch

WORKERS = 8
Observed = list[tuple[float, dict[str, Any]]]

MAKERS: dict[str, Make] = {
    "pso-noisy": swarm(noisy=True),
    "pso": swarm(),
    "random": peer(RandomSearch),
    "optuna-tpe": peer(OptunaTPE),
    "nevergrad-ngopt": nevergrad("NGOpt", WORKERS),
    "nevergrad-noisy-1+1": nevergrad("OptimisticNoisyOnePlusOne", WORKERS),
    "nevergrad-tbpsa": nevergrad("TBPSA", WORKERS),
}


def _luckiest(searcher: Any, observed: Observed) -> dict[str, Any]:
    return min(observed, key=lambda pair: pair[0])[1]


def _posterior(searcher: Any, observed: Observed) -> dict[str, Any]:
    config: dict[str, Any] = searcher.recommend()[0]
    return config


def _nevergrads_own(searcher: Any, observed: Observed) -> dict[str, Any]:
    value = searcher._peer._optimizer.provide_recommendation().value
    return {name: float(value[str(i)]) for i, name in enumerate(observed[0][1])}


def recommendation(name: str) -> Callable[[Any, Observed], dict[str, Any]]:
    """Return how a searcher's recommendation is found, from the searcher and all noisy values."""
    if name == "pso-noisy":
        return _posterior
    return _nevergrads_own if name.startswith("nevergrad") else _luckiest


def signal(problem: Problem) -> float:
    """Return half the distance of the 16th from the 84th percentile of 1,000 random configurations' values."""
    rng, space = np.random.default_rng(1), problem.space
    draws = [problem.function(space.decode(space.from_uniform(rng.random(space.n_parameters)))) for _ in range(1000)]
    low, high = np.percentile(draws, [16, 84])
    return float(high - low) / 2


def regret(name: str, problem: Problem, deviation: float, seed: int, budget: int) -> float:
    """Return the true regret of the configuration that a searcher recommends after ``budget`` noisy evaluations."""
    rng = np.random.default_rng([seed, 5])
    observed: Observed = []

    def evaluate(config: dict[str, Any]) -> float:
        value = problem.function(config) + deviation * float(rng.normal())
        observed.append((value, config))
        return value

    searcher = MAKERS[name](problem.space, seed, budget)
    run(searcher, evaluate, budget, WORKERS, seed)
    return problem.regret(problem.function(recommendation(name)(searcher, observed)))


def main() -> None:
    """Run the cells that OUT.json lacks, and print the table after each seed."""
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sigma", type=float, nargs="*", default=[1.0, 5.0])
    parser.add_argument("--dimension", type=int, default=5)
    parser.add_argument("--budget", type=int, default=100)
    parser.add_argument("--only", nargs="*", default=list(MAKERS))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    cells: dict[str, float] = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    problems = [bbob(f, arguments.dimension, 8 + f % 3) for f in range(1, 25)]
    signals = [signal(problem) for problem in problems]
    for seed in range(arguments.seeds):
        for sigma in arguments.sigma:
            for problem, scale in zip(problems, signals, strict=True):
                for name in arguments.only:
                    key = f"{name}|{sigma:g}|{problem.name}|{seed}"
                    if key not in cells:
                        cells[key] = regret(name, problem, sigma * scale, seed, arguments.budget)
                arguments.out.write_text(json.dumps(cells))
        print(f"seed {seed}\n{report(cells)}", flush=True)


def report(cells: dict[str, float]) -> str:
    """Return a Markdown table of each searcher's mean regret, capped at 2, with its standard error, by sigma."""
    keys = [key.split("|") for key in cells]
    names, sigmas = list(dict.fromkeys(key[0] for key in keys)), sorted({float(key[1]) for key in keys})
    lines = [
        f"| searcher | {' | '.join(f'sigma = {sigma:g} signals' for sigma in sigmas)} |",
        f"|---|{'---|' * len(sigmas)}",
    ]
    for name in names:
        row = []
        for sigma in sigmas:
            # A few recommendations are thousands of times worse than the median, and would be the mean.
            regrets = np.minimum([cells["|".join(k)] for k in keys if k[0] == name and float(k[1]) == sigma], 2.0)
            row.append(f"{regrets.mean():.3f} ± {regrets.std() / len(regrets) ** 0.5:.3f}")
        lines.append(f"| {name} | {' | '.join(row)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
