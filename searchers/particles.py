"""The particles of a swarm: where they are, how they move, what each has found best."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searchers.dynamics import TopologyName, draw_informants, informants
from searchers.parameters import Array

UNKNOWN = -1.0  # fidelity of a personal best that is not there yet; real ones are >= 0


class Particles:
    """``n`` particles in ``n_dims`` dimensions; arrays are indexed by particle.

    Attributes:
        position, velocity: (n, n_dims), of the move that landed last; cube widths.
        best_position, best_value, best_fidelity: The personal best; value inf and fidelity -1 before the first.
        n_moves: (n,) moves asked for.
        landed: (n,) when the particle last landed, counted in results.
        leader: The particle with the best personal best; None before any.
        full: The fidelity of a full run; results at it or above are equals in fidelity.
    """

    def __init__(self, n: int, n_dims: int, topology: TopologyName, rng: np.random.Generator) -> None:
        self.n, self.topology = n, topology
        self.position = np.full((n, n_dims), 0.5)
        self.velocity = np.zeros((n, n_dims))
        self.best_position = np.full((n, n_dims), 0.5)
        self.best_value = np.full(n, np.inf)
        self.best_fidelity = np.full(n, UNKNOWN)
        self.n_moves = np.zeros(n, dtype=int)
        self.landed = np.zeros(n, dtype=int)
        self.leader: int | None = None
        self.full = math.inf
        self._stale = 0  # results since the last new leader or the last draw of informants
        self._drawn = draw_informants(n, rng) if topology == "random" else np.empty((0, 0), dtype=np.intp)

    def rank(self, particle: int) -> tuple[float, float]:
        """Smaller is better: fidelity first, then value."""
        return -min(float(self.best_fidelity[particle]), self.full), float(self.best_value[particle])

    def knows(self, particle: int) -> bool:
        return bool(self.best_fidelity[particle] != UNKNOWN)

    def weakest(self) -> int:
        return max(range(self.n), key=self.rank)

    def waiting(self, in_air: NDArray[np.int_], generational: bool) -> int | None:
        """Who moves next: fewest moves ``in_air``, then longest on the ground. None: a generation is in the air."""
        if generational:
            behind = np.flatnonzero((self.n_moves == self.n_moves.min()) & (in_air == 0))
            new_generation = self.n_moves.min() == self.n_moves.max()
            return None if (new_generation and in_air.any()) or not len(behind) else int(behind[0])
        ready = np.flatnonzero(in_air == in_air.min())
        return int(ready[np.argmin(self.landed[ready])])

    def learn(self, particle: int, position: Array, value: float, fidelity: float, rng: np.random.Generator) -> bool:
        """True if the result is the particle's new personal best. ``value`` inf: failed, which never is."""
        improved = math.isfinite(value) and (-min(fidelity, self.full), value) < self.rank(particle)
        if improved:
            self.best_position[particle] = position
            self.best_value[particle], self.best_fidelity[particle] = value, fidelity
        if improved and (self.leader is None or self.rank(particle) < self.rank(self.leader)):
            self.leader, self._stale = particle, 0
        else:
            self._stale += 1
        if self.topology == "random" and self._stale >= self.n:  # Clerc 2006: a swarm of results without a new best
            self._drawn, self._stale = draw_informants(self.n, rng), 0
        return improved

    def set_full(self, fidelity: float) -> None:
        """Full runs are those that reach ``fidelity``; what ranks first may change with it."""
        if fidelity != self.full:
            self.full = fidelity
            self.leader = min(range(self.n), key=self.rank) if self.leader is not None else None

    def informer(self, particle: int) -> int:
        """The particle with the best personal best among those that inform this one."""
        if self.topology == "global":
            return particle if self.leader is None else self.leader
        group = self._drawn[particle] if self.topology == "random" else informants(self.topology, particle, self.n)
        return int(min(group, key=self.rank))

    def get_state(self) -> dict[str, Any]:
        arrays = {name: getattr(self, name).tolist() for name in _ARRAYS}
        arrays["best_value"] = [value if math.isfinite(value) else None for value in arrays["best_value"]]
        arrays["best_fidelity"] = [value if math.isfinite(value) else None for value in arrays["best_fidelity"]]
        scalars = {"leader": self.leader, "stale": self._stale, "drawn": self._drawn.tolist()}
        return {**arrays, **scalars, "full": self.full if math.isfinite(self.full) else None}

    def set_state(self, state: dict[str, Any]) -> None:
        for name, kind in _ARRAYS.items():
            values = [math.inf if value is None else value for value in state[name]]
            setattr(self, name, np.array(values, dtype=kind).reshape(getattr(self, name).shape))
        self.leader, self._stale = state["leader"], state["stale"]
        self._drawn = np.array(state["drawn"], dtype=np.intp)
        self.full = math.inf if state["full"] is None else state["full"]


_ARRAYS = {
    "position": float,
    "velocity": float,
    "best_position": float,
    "best_value": float,
    "best_fidelity": float,
    "n_moves": int,
    "landed": int,
}
