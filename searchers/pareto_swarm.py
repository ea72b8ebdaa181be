"""A particle swarm with several objectives, by decomposition: each particle seeks a trade-off of its own.

A particle has a weight for each objective, and its values are those of the augmented Tchebycheff function with these
weights (`searchers.objectives.tchebycheff`). So the swarm moves towards the whole Pareto front at once, each particle
towards its part of it, and every particle learns from the results of all others: before it moves, all of them are
valued by its own weights. Weights that are spread evenly over the particles are those of Q. Zhang and H. Li, "MOEA/D: a
multiobjective evolutionary algorithm based on decomposition", IEEE Trans. Evol. Comput. 11, 2007; S. Zapotecas Martinez
and C. A. Coello Coello, "A multi-objective particle swarm optimizer based on decomposition", GECCO 2011, use them in a
swarm. The surrogate of `searchers.screening` learns the weighted values, as in ParEGO.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from searchers.archive import Value, curve_from_json, curve_to_json
from searchers.objectives import Vector, VectorResults, finite_vector
from searchers.parameters import Array
from searchers.space import Space
from searchers.swarm import ParticleSwarm


class ParetoSwarm(ParticleSwarm):
    """Particle swarm optimisation of several objectives by ask and tell. It minimises all of them.

    >>> from searchers import Float, ParetoSwarm
    >>> swarm = ParetoSwarm({"x": Float(-2.0, 2.0)}, n_objectives=2, n_particles=5, seed=0)
    >>> for _ in range(30):
    ...     move = swarm.ask()
    ...     x = move.config["x"]
    ...     swarm.tell(move.id, (x**2, (x - 1) ** 2))
    >>> all(-0.01 < config["x"] < 1.01 for config, values in swarm.front)
    True

    Args:
        space: As of a `ParticleSwarm`.
        n_objectives: Number of values of each result, at least 2.
        *arguments: Further arguments of a `ParticleSwarm`.
        **settings: Further arguments of a `ParticleSwarm`, by name.

    Raises:
        ValueError: If a setting is outside its range, or a point outside the space.
    """

    def __init__(self, space: Mapping[str, Any] | Space, n_objectives: int, *arguments: Any, **settings: Any) -> None:
        if n_objectives < 2:
            raise ValueError(f"n_objectives must be at least 2; got {n_objectives}")
        self._results = VectorResults(n_objectives)
        super().__init__(space, *arguments, **settings)

    @property
    def front(self) -> list[tuple[dict[str, Any], Vector]]:
        """Configurations and values that no other one beats in all objectives, at the highest fidelity reached."""
        chosen = self._results.front(self._particles.full)
        return [(self.space.decode(self.archive.positions[i]), self._results.vector(i)) for i in chosen]

    @property
    def best(self) -> tuple[dict[str, Any], float] | None:
        """The configuration of the front with the lowest first value, and that value; None before any success."""
        front = [(config, values[0]) for config, values in self.front]
        return min(front, key=lambda entry: entry[1], default=None)

    def recommend(self) -> tuple[dict[str, Any], float] | None:
        """Raise an error: several objectives have no single best configuration.

        Raises:
            ValueError: Always.
        """
        raise ValueError("a swarm with several objectives has a front instead of a recommendation")

    def personal_best(self, particle: int) -> float | None:
        """Return None: the value of a personal best depends on the particle's weights."""
        return None

    def weights(self, particle: int) -> Array:
        """Return a particle's weights of the objectives, (n_objectives,), with sum 1."""
        n, n_particles = self._results.n_objectives, self._particles.n
        if n_particles == 1:
            return np.full(n, 1 / n)
        if n == 2:
            return np.array([1.0, 0.0]) + np.array([-1.0, 1.0]) * particle / (n_particles - 1)
        # Each objective for itself, and random trade-offs that are the same in each swarm
        drawn: Array = np.vstack([np.eye(n), np.random.default_rng(n).dirichlet(np.ones(n), n_particles)])[particle]
        return drawn

    def _aim(self, particle: int) -> None:
        results = self._results
        self.archive.revalue(results.scalarised(self.weights(particle), self._particles.full))
        self._particles.relearn(results.particles, self.archive.positions, self.archive.values, self.archive.fidelities)

    def _finite(self, value: Any) -> Any:
        return finite_vector(value, self._results.n_objectives)

    def _learn(
        self,
        particle: int,
        position: Array,
        value: Value,
        fidelity: float,
        curve: Mapping[float, Any] | None = None,
        deviation: float | None = None,
    ) -> bool:
        """Add a result; return True if it is on the front."""
        vector = self._finite(value)
        number = len(self._results.particles)
        self._results.add(particle, {} if vector is None else {**(curve or {}), fidelity: vector})
        # Its value is that of the particle which moves next.
        self.archive.add(self._snap(position), math.inf if vector is None else 0.0, fidelity, None, deviation)
        return number in self._results.front(self._particles.full)

    def _heir(self) -> int:
        return len(self.archive) % self._particles.n

    def get_state(self) -> dict[str, Any]:
        """Return the whole state as JSON values."""
        results = [
            [particle, curve_to_json(curve)]
            for particle, curve in zip(self._results.particles, self._results.curves, strict=True)
        ]
        return {**super().get_state(), "n_objectives": self._results.n_objectives, "vectors": results}

    def _set_state(self, state: Mapping[str, Any]) -> None:
        super()._set_state(state)
        self._results = VectorResults(state["n_objectives"])
        for particle, curve in state["vectors"]:
            self._results.add(particle, curve_from_json(curve))
