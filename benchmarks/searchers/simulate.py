"""Searches by asynchronous workers in simulated time, and the searchers that are compared."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from searchers import ParticleSwarm, Space
from searchers.peers import Nevergrad, OptunaTPE, PySwarms, RandomSearch, ReplayedPeer

Make = Callable[[Space, int, int], Any]
"""Makes an optimiser with ask and tell from the search space, a seed and the number of evaluations."""


def swarm(**settings: Any) -> Make:
    """Return a maker of swarms with ``settings``."""
    return lambda space, seed, budget: ParticleSwarm(space, seed=seed, **{"budget": budget, **settings})


def peer(optimiser: Any) -> Make:
    """Return a maker of an optimiser of `searchers.peers`."""
    return lambda space, seed, budget: ReplayedPeer(optimiser, space, seed, budget)


def nevergrad(name: str, n_workers: int) -> Make:
    """Return a maker of the optimiser ``name`` of Nevergrad's registry."""
    return peer(type(name, (Nevergrad,), {"name": name, "n_workers": n_workers}))


def peers(workers: int = 8) -> dict[str, Make]:
    """Return the makers of all searchers that are compared, by name.

    Nevergrad's PSO doesn't get the number of workers, as with Ray's NevergradSearch.
    """
    return {
        "pso": swarm(),
        "pso-plain": swarm(screening=False),
        "pso-generational": swarm(screening=False, generational=True),
        "random": peer(RandomSearch),
        "optuna-tpe": peer(OptunaTPE),
        "nevergrad-pso": peer(Nevergrad),
        "nevergrad-ngopt": nevergrad("NGOpt", workers),
        "nevergrad-de": nevergrad("DE", workers),
        "pyswarms": peer(PySwarms),
    }


PEERS = peers()


@dataclass
class Run:
    """A simulated search.

    Attributes:
        values: Values in the order in which they came, (n,).
        times: Times at which they came, (n,), in mean durations of an evaluation.
        busy: Share of the workers' time in use.
    """

    values: np.ndarray[Any, Any]
    times: np.ndarray[Any, Any]
    busy: float

    def best_after(self, n: int) -> float:
        """Return the best of the first ``n`` values."""
        return float(np.min(self.values[:n]))

    def best_by(self, time: float) -> float:
        """Return the best value by ``time``; infinite if there is none yet."""
        return float(np.min(self.values[self.times <= time], initial=np.inf))


def run(searcher: Any, function: Callable[[dict[str, Any]], float], budget: int, workers: int, seed: int) -> Run:
    """Evaluate ``budget`` configurations. Durations are log-normal (sigma 1, mean 1), and depend on the seed only."""
    # (budget,); the mean is exp(mu + sigma^2 / 2) = exp(-0.5 + 0.5) = 1.
    durations = np.random.default_rng([seed, 77]).lognormal(-0.5, 1.0, budget)
    running: list[tuple[float, int, int, float]] = []  # end, number, move id, value
    values: list[float] = []
    times: list[float] = []
    now, asked, used = 0.0, 0, 0.0
    last_ask = 0.0
    while len(values) < budget:
        while asked < budget and len(running) < workers:
            move = searcher.ask()
            if move is None:
                break
            duration = float(durations[asked])
            heapq.heappush(running, (now + duration, asked, move.id, function(move.config)))
            asked, last_ask, used = asked + 1, now, used + duration
        now, _, move_id, value = heapq.heappop(running)
        searcher.tell(move_id, value)
        values.append(value)
        times.append(now)
    # After the last ask, workers run empty with any searcher: count up to there.
    overhang = sum(max(0.0, ended - last_ask) for ended in times)
    return Run(np.array(values), np.array(times), (used - overhang) / max(workers * last_ask, 1e-12))
