"""Asynchronous workers in simulated time, and the searchers that they serve."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from searchers import ParticleSwarm, Space
from searchers.peers import Nevergrad, OptunaTPE, PySwarms, RandomSearch, Replayed

Make = Callable[[Space, int, int], Any]  # space, seed, budget -> ask/tell


def swarm(**settings: Any) -> Make:
    return lambda space, seed, budget: ParticleSwarm(space, seed=seed, **{"budget": budget, **settings})


def peer(engine: Any) -> Make:
    return lambda space, seed, budget: Replayed(engine, space, seed, budget)


def nevergrad(name: str, n_workers: int) -> Make:
    return peer(type(name, (Nevergrad,), {"name": name, "n_workers": n_workers}))


def peers(workers: int = 8) -> dict[str, Make]:
    """All that are compared, by name. Nevergrad's PSO is not told of the workers, as Ray's NevergradSearch does it."""
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
    """``values`` in the order in which they came, at ``times``; ``busy``: share of the workers' time in use."""

    values: np.ndarray[Any, Any]
    times: np.ndarray[Any, Any]
    busy: float

    def best_after(self, n: int) -> float:
        return float(np.min(self.values[:n]))

    def best_by(self, time: float) -> float:
        """Infinite if nothing has landed by then."""
        return float(np.min(self.values[self.times <= time], initial=np.inf))


def run(searcher: Any, function: Callable[[dict[str, Any]], float], budget: int, workers: int, seed: int) -> Run:
    """Evaluate ``budget`` configurations; durations are log-normal (sigma 1, mean 1), drawn for the seed alone."""
    durations = np.random.default_rng([seed, 77]).lognormal(-0.5, 1.0, budget)
    flying: list[tuple[float, int, int, float]] = []
    values: list[float] = []
    times: list[float] = []
    now, asked, used = 0.0, 0, 0.0
    last_ask = 0.0
    while len(values) < budget:
        while asked < budget and len(flying) < workers:
            move = searcher.ask()
            if move is None:
                break
            duration = float(durations[asked])
            heapq.heappush(flying, (now + duration, asked, move.id, function(move.config)))
            asked, last_ask, used = asked + 1, now, used + duration
        now, _, move_id, value = heapq.heappop(flying)
        searcher.tell(move_id, value)
        values.append(value)
        times.append(now)
    # What is in the air after the last ask has no successor, with any searcher: count up to there.
    overhang = sum(max(0.0, ended - last_ask) for ended in times)
    return Run(np.array(values), np.array(times), (used - overhang) / max(workers * last_ask, 1e-12))
