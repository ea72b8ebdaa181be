"""Utilisation of the workers, and CPU time of a suggestion.

python -m benchmarks.searchers.busy
"""

from __future__ import annotations

import time

import numpy as np

from benchmarks.searchers.simulate import run, swarm
from searchers import Float, ParticleSwarm, Space


def busy(workers: int, generational: bool) -> float:
    """Return the share of the workers' time in use until the last ask, the mean over 10 seeds."""
    space = Space({f"x{i}": Float(0, 1) for i in range(5)})
    make = swarm(n_particles=max(10, workers), screening=False, generational=generational)
    budget = 10 * max(10, workers)
    runs = [run(make(space, seed, budget), lambda c: sum(c.values()), budget, workers, seed) for seed in range(10)]
    return float(np.mean([done.busy for done in runs]))


def milliseconds(n_results: int, n_dims: int, screening: bool, rounds: int = 20) -> float:
    """Return the CPU time of ask and tell, in ms, at about ``n_results`` results, the mean over ``rounds``."""
    swarm = ParticleSwarm({f"x{i}": Float(0, 1) for i in range(n_dims)}, seed=0, screening=screening)
    rng = np.random.default_rng(0)
    for position in rng.random((n_results, n_dims)):
        swarm.add_evaluated({f"x{i}": float(x) for i, x in enumerate(position)}, float(position.sum()))
    for timed in (False, True):  # the first round warms up
        started = time.process_time()
        for _ in range(rounds):
            move = swarm.ask()
            if move is not None:
                swarm.tell(move.id, sum(move.config.values()))
        if timed:
            return (time.process_time() - started) / rounds * 1e3
    raise AssertionError("unreachable")


def main() -> None:
    """Print the utilisation of the workers and the CPU time of suggestions."""
    for workers in (8, 128):
        print(f"{workers} workers: asynchronous {busy(workers, False):.3f}, generational {busy(workers, True):.3f}")
    for n_results in (100, 1000):
        for n_dims in (5, 10, 20):
            cost = milliseconds(n_results, n_dims, True)
            print(f"{n_results} results, {n_dims} dimensions: {cost:.1f} ms CPU per screened move")
    swarm = ParticleSwarm({f"x{i}": Float(0, 1) for i in range(50)}, 10_000, seed=0, screening=False)
    started = time.process_time()
    for move in [swarm.ask() for _ in range(10_000)]:
        if move is not None:
            swarm.tell(move.id, float(move.id))
    for _ in range(10_000):
        move = swarm.ask()
        if move is not None:
            swarm.tell(move.id, sum(move.config.values()))
    print(
        f"10,000 particles, 50 dimensions: {(time.process_time() - started) / 20_000 * 1e3:.2f} ms CPU per ask and tell"
    )


if __name__ == "__main__":
    main()
