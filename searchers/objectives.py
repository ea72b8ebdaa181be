"""Several objectives: which results no other one beats in all of them, and one number that stands for all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searchers.archive import Curve
from searchers.parameters import Array

RHO = 0.05
Vector = tuple[float, ...]
"""A value of each objective, all to be minimised."""


def finite_vector(values: Any, n: int) -> Vector | None:
    """Return a result's values as floats; None, which means that the run failed, if any is not a finite number.

    Raises:
        ValueError: If there are not ``n`` of them.
    """
    if values is None:
        return None
    if not isinstance(values, (Sequence, np.ndarray)) or len(values) != n:
        raise ValueError(f"a result must have {n} values, one for each objective; got {values!r}")
    vector = tuple(math.nan if value is None else float(value) for value in values)
    return vector if all(map(math.isfinite, vector)) else None


def non_dominated(values: Array) -> NDArray[np.bool_]:
    """Return which of the rows, (n, n_objectives), are on the Pareto front: no other row is better in one objective
    and at least as good in all. Of equal rows all are on it.
    """
    no_worse = (values[:, None] <= values[None]).all(axis=2)  # [i, j]: i is nowhere worse than j
    better = (values[:, None] < values[None]).any(axis=2)
    return np.logical_not((no_worse & better).any(axis=0))


def tchebycheff(values: Array, weights: Array) -> Array:
    """Return the augmented Tchebycheff function of values, (n, n_objectives), as one number each, (n,).

    J. Knowles, "ParEGO: a hybrid algorithm with on-line landscape approximation for expensive multiobjective
    optimization problems", IEEE Trans. Evol. Comput. 10, 2006, eq. 2:

        f(x) = max_j(w_j f_j(x)) + rho * sum_j w_j f_j(x)

    Each objective is first scaled so that the front goes from 0 to 1.

    Args:
        values: Values to minimise.
        weights: Weight of each objective, (n_objectives,), with sum 1.
    """
    front = values[non_dominated(values)]
    ideal, span = values.min(axis=0), np.ptp(front, axis=0)
    span = np.where(span > 0, span, np.ptp(values, axis=0))
    weighted = weights * (values - ideal) / np.where(span > 0, span, 1.0)
    scalars: Array = weighted.max(axis=1) + RHO * weighted.sum(axis=1)
    return scalars


class VectorResults:
    """The results of a swarm with several objectives, in the order in which they came.

    Attributes:
        n_objectives: Number of objectives.
        particles: Index of the particle of each result.
        curves: Vectors of each result by fidelity, empty for a failure.
    """

    def __init__(self, n_objectives: int) -> None:
        self.n_objectives = n_objectives
        self.particles: list[int] = []
        self.curves: list[dict[float, Vector]] = []

    def add(self, particle: int, curve: dict[float, Vector]) -> None:
        """Add the result of a particle."""
        self.particles.append(particle)
        self.curves.append(curve)

    def front(self, full: float) -> NDArray[np.intp]:
        """Return the indices of the results on the Pareto front of the highest fidelity that any reached, (n,)."""
        indices, fidelities, vectors = self._ends()
        reached = np.minimum(fidelities, full)
        highest = np.flatnonzero(reached == reached.max(initial=-math.inf))
        return indices[highest[non_dominated(vectors[highest])]]

    def vector(self, index: int) -> Vector:
        """Return the last vector of a result that is no failure."""
        return self.curves[index][max(self.curves[index])]

    def _ends(self) -> tuple[NDArray[np.intp], Array, Array]:
        """Return the indices, (n,), fidelities, (n,), and last vectors, (n, n_objectives), of all successes."""
        ends = [(i, max(curve), curve[max(curve)]) for i, curve in enumerate(self.curves) if curve]
        indices, fidelities, vectors = zip(*ends, strict=True) if ends else ((), (), ())
        rows = np.array(vectors, dtype=float).reshape(len(ends), self.n_objectives)
        return np.array(indices, dtype=np.intp), np.array(fidelities, dtype=float), rows

    def scalarised(self, weights: Array, full: float) -> list[Curve]:
        """Return the curves with `tchebycheff` of each vector, among those at its fidelity.

        Args:
            weights: Weight of each objective, (n_objectives,).
            full: Fidelity of a full run; fidelities above it are equal.
        """
        rungs: dict[float, list[tuple[int, float]]] = {}
        for i, curve in enumerate(self.curves):
            for fidelity in curve:
                rungs.setdefault(min(fidelity, full), []).append((i, fidelity))
        scalars: list[Curve] = [{} for _ in self.curves]
        for places in rungs.values():
            values = tchebycheff(np.array([self.curves[i][fidelity] for i, fidelity in places]), weights)
            for (i, fidelity), value in zip(places, values, strict=True):
                scalars[i][fidelity] = float(value)
        return scalars
