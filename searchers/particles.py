"""The particles of a swarm: their positions, velocities and personal bests."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searchers.dynamics import TopologyName, draw_informants, informants
from searchers.parameters import Array

NO_FIDELITY = -1.0  # fidelity of a personal best before the first result; real fidelities are >= 0


class Particles:
    """``n`` particles in ``n_dims`` dimensions; arrays are indexed by particle.

    Attributes:
        position: Position of each particle's last move with a result, (n, n_dims).
        velocity: Velocity of that move, (n, n_dims), in cube widths per move.
        best_position: Position of each personal best, (n, n_dims).
        best_value: Value of each personal best, (n,); inf before the first.
        best_fidelity: Fidelity of each personal best, (n,); ``NO_FIDELITY`` before the first.
        n_moves: Number of moves that each particle made, (n,).
        landed: Number of results in the archive at each particle's last result, (n,).
        leader: Index of the particle with the best personal best; None before any.
        full: Fidelity of a full run. Results at it and above count as equal in fidelity.
    """

    def __init__(self, n: int, n_dims: int, topology: TopologyName, rng: np.random.Generator) -> None:
        self.n, self.topology = n, topology
        self.position = np.full((n, n_dims), 0.5)
        self.velocity = np.zeros((n, n_dims))
        self.best_position = np.full((n, n_dims), 0.5)
        self.best_value = np.full(n, np.inf)
        self.best_fidelity = np.full(n, NO_FIDELITY)
        self.n_moves = np.zeros(n, dtype=int)
        self.landed = np.zeros(n, dtype=int)
        self.leader: int | None = None
        self.full = math.inf
        self._stale = 0  # results since the last new leader or the last draw of informants
        self._drawn = draw_informants(n, rng) if topology == "random" else np.empty((0, 0), dtype=np.intp)

    def rank(self, particle: int) -> tuple[float, float]:
        """Return the sort key of a personal best, smaller is better: by fidelity first, then by value."""
        return -min(float(self.best_fidelity[particle]), self.full), float(self.best_value[particle])

    def has_best(self, particle: int) -> bool:
        """Return True if the particle has a personal best."""
        return bool(self.best_fidelity[particle] != NO_FIDELITY)

    def worst(self) -> int:
        """Return the particle with the worst personal best."""
        return max(range(self.n), key=self.rank)

    def next_to_move(self, n_pending: NDArray[np.int_], generational: bool) -> int | None:
        """Return the particle that moves next: with the fewest pending moves, then with the oldest last result.

        Args:
            n_pending: Number of pending moves of each particle, (n,).
            generational: Let every particle move once, and all results come in, before any moves again.

        Returns:
            An index; None if a generation has to be waited for.
        """
        if generational:
            behind = np.flatnonzero((self.n_moves == self.n_moves.min()) & (n_pending == 0))
            starts_generation = self.n_moves.min() == self.n_moves.max()
            return None if (starts_generation and n_pending.any()) or not len(behind) else int(behind[0])
        ready = np.flatnonzero(n_pending == n_pending.min())
        return int(ready[np.argmin(self.landed[ready])])

    def learn(self, particle: int, position: Array, value: float, fidelity: float, rng: np.random.Generator) -> bool:
        """Update a particle's personal best and the leader with a result.

        Args:
            particle: Index of the particle.
            position: Position of the result, (n_dims,).
            value: Its value; inf for a failure, which is never a personal best.
            fidelity: Its fidelity; inf for a full run.
            rng: Draws new informants in the random topology.

        Returns:
            True if the result is the particle's new personal best.
        """
        improved = math.isfinite(value) and (-min(fidelity, self.full), value) < self.rank(particle)
        if improved:
            self.best_position[particle] = position
            self.best_value[particle], self.best_fidelity[particle] = value, fidelity
        if improved and (self.leader is None or self.rank(particle) < self.rank(self.leader)):
            self.leader, self._stale = particle, 0
        else:
            self._stale += 1
        # Clerc (2006): draw informants anew after an iteration, here n results, without a better leader.
        if self.topology == "random" and self._stale >= self.n:
            self._drawn, self._stale = draw_informants(self.n, rng), 0
        return improved

    def relearn(self, particles: list[int], positions: Array, values: list[float], fidelities: list[float]) -> None:
        """Find all personal bests, and the leader, among results whose values have changed.

        Args:
            particles: Index of the particle of each result.
            positions: Positions of the results, (n, n_dims).
            values: Values of the results; inf for failures.
            fidelities: Fidelities of the results; inf for full runs.
        """
        self.best_value[:], self.best_fidelity[:], self.leader = np.inf, NO_FIDELITY, None
        order = np.lexsort((np.array(values), -np.minimum(fidelities, self.full)))
        for result in order[np.isfinite(np.array(values)[order])]:
            particle = particles[result]
            if not self.has_best(particle):
                self.best_position[particle] = positions[result]
                self.best_value[particle], self.best_fidelity[particle] = values[result], fidelities[result]
                self.leader = particle if self.leader is None else self.leader

    def set_full(self, fidelity: float) -> None:
        """Set the fidelity of a full run, and the leader that follows from it."""
        if fidelity != self.full:
            self.full = fidelity
            self.leader = min(range(self.n), key=self.rank) if self.leader is not None else None

    def best_informant(self, particle: int) -> int:
        """Return the particle with the best personal best among this one's informants."""
        if self.topology == "global":
            return particle if self.leader is None else self.leader
        group = self._drawn[particle] if self.topology == "random" else informants(self.topology, particle, self.n)
        return int(min(group, key=self.rank))

    def get_state(self) -> dict[str, Any]:
        """Return all arrays and scalars as JSON values."""
        arrays = {name: getattr(self, name).tolist() for name in _ARRAYS}
        arrays["best_value"] = [value if math.isfinite(value) else None for value in arrays["best_value"]]
        arrays["best_fidelity"] = [value if math.isfinite(value) else None for value in arrays["best_fidelity"]]
        scalars = {"leader": self.leader, "stale": self._stale, "drawn": self._drawn.tolist()}
        return {**arrays, **scalars, "full": self.full if math.isfinite(self.full) else None}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what ``get_state`` returned."""
        for name, kind in _ARRAYS.items():
            values = [math.inf if value is None else value for value in state[name]]
            setattr(self, name, np.array(values, dtype=kind).reshape(getattr(self, name).shape))
        self.leader, self._stale = state["leader"], state["stale"]
        self._drawn = np.array(state["drawn"], dtype=np.intp)
        self.full = math.inf if state["full"] is None else state["full"]


# The arrays of a state; their names are part of its format.
_ARRAYS = {
    "position": float,
    "velocity": float,
    "best_position": float,
    "best_value": float,
    "best_fidelity": float,
    "n_moves": int,
    "landed": int,
}
