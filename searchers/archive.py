"""The archive of a swarm: every result, and every configuration that was ever asked for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searchers.parameters import Array
from searchers.space import Space

Curve = dict[float, float]  # fidelity -> finite value


class Archive:
    """Results in the order in which they came, and the set of configurations seen, running ones included.

    Positions of results are snapped (`searchers.space.Space.snap`). Seen configurations are stored as their identities
    (`searchers.space.Space.identify`), which differ from snapped positions in real-valued parameters only.

    Attributes:
        n_dims: Number of coordinates.
        values: Values of the results; inf for failures.
        fidelities: Fidelities of the results; inf for full runs.
    """

    def __init__(self, n_dims: int) -> None:
        self.n_dims = n_dims
        self.values: list[float] = []
        self.fidelities: list[float] = []
        self._curves: list[Curve] = []
        self._positions: list[Array] = []
        # Keys only: a dict keeps their order, so that a state is the same each time it is written.
        self._seen: dict[bytes, None] = {}

    def __len__(self) -> int:
        return len(self.values)

    @property
    def n_seen(self) -> int:
        """Number of distinct configurations seen."""
        return len(self._seen)

    @property
    def positions(self) -> Array:
        """Positions of the results, (n_results, n_dims)."""
        return np.array(self._positions).reshape(len(self), self.n_dims)

    def add(self, position: Array, value: float, fidelity: float, curve: Curve | None = None) -> None:
        """Add a result.

        Args:
            position: Snapped position, (n_dims,).
            value: Value at ``fidelity``; inf for a failure.
            fidelity: Fidelity that the run reached; inf for a full run.
            curve: Values that the run reported on its way, by fidelity.
        """
        self._positions.append(position)
        self._curves.append({**(curve or {}), fidelity: value} if value < math.inf else {})
        self.values.append(value)
        self.fidelities.append(fidelity)

    def mark_seen(self, identity: Array) -> bool:
        """Mark a configuration as seen; return False if it was seen before."""
        key = identity.tobytes()
        new = key not in self._seen
        self._seen[key] = None
        return new

    def unseen(self, positions: Array) -> NDArray[np.bool_]:
        """Return which of the snapped positions, (n, n_dims), have not been seen, (n,).

        A position with real-valued parameters may count as unseen though it decodes to a configuration that was seen:
        only its identity, for ``mark_seen``, tells.
        """
        return np.array([position.tobytes() not in self._seen for position in positions], dtype=bool)

    def first_unseen(self, space: Space, start: int) -> Array | None:
        """Return the position of the first unseen configuration of a finite space; None if all were seen.

        The search begins at the ``start``-th configuration, and wraps around.
        """
        size = int(space.size)
        positions = (space.position_at((start + offset) % size) for offset in range(size))
        return next((position for position in positions if self.unseen(space.snap(position[None, :]))[0]), None)

    def comparable(self, full: float, at_least: int) -> tuple[NDArray[np.intp], Array]:
        """Return the values at one fidelity: the highest that at least ``at_least`` runs reached.

        If no fidelity has that many, it is the one that most runs reached. Only fidelities at which runs ended are
        considered. A run that went past one has its reported value there. This is the rule of BOHB (S. Falkner,
        A. Klein, F. Hutter, ICML 2018). Early stopping promotes its first runs whatever their values are; this does no
        harm here, since each run is compared with others at the same fidelity.

        Args:
            full: Fidelity of a full run; runs past it count as full.
            at_least: Number of values that are enough to learn from.

        Returns:
            Indices of the results, in order, and their values, (n,) each. Failures are included, with value inf.
        """
        curves = [{min(at, full): value for at, value in curve.items()} for curve in self._curves]
        rungs = sorted({max(curve) for curve in curves if curve}, reverse=True)
        counts = {rung: sum(rung in curve for curve in curves) for rung in rungs}
        most_common = max(rungs, key=counts.__getitem__, default=full)
        rung = next((rung for rung in rungs if counts[rung] >= at_least), most_common)
        # An empty curve is a failure.
        values = [(i, curve.get(rung, math.inf)) for i, curve in enumerate(curves) if rung in curve or not curve]
        indices = np.array([i for i, _ in values], dtype=np.intp)
        return indices, np.array([value for _, value in values], dtype=float)

    def get_state(self) -> dict[str, Any]:
        """Return the archive as JSON values."""
        seen = [np.frombuffer(key).tolist() for key in self._seen]
        return {
            "positions": [position.tolist() for position in self._positions],
            "values": finite_list(self.values),
            "fidelities": finite_list(self.fidelities),
            "curves": [curve_to_json(curve) for curve in self._curves],
            "seen": seen,
        }

    @classmethod
    def from_state(cls, n_dims: int, state: dict[str, Any]) -> Archive:
        """Return the archive that ``get_state`` described."""
        archive = cls(n_dims)
        archive._positions = [np.array(position, dtype=float) for position in state["positions"]]
        archive.values = infinite_list(state["values"], math.inf)
        archive.fidelities = infinite_list(state["fidelities"], math.inf)
        archive._curves = [curve_from_json(curve) for curve in state["curves"]]
        archive._seen = {np.array(position, dtype=float).tobytes(): None for position in state["seen"]}
        return archive


def curve_to_json(curve: Curve) -> list[list[float | None]]:
    """Return a curve as [fidelity, value] pairs; infinite fidelity as None."""
    return [[at if math.isfinite(at) else None, value] for at, value in curve.items()]


def curve_from_json(pairs: list[list[float | None]]) -> Curve:
    """Return the curve that ``curve_to_json`` described."""
    return {math.inf if at is None else at: float(value) for at, value in pairs if value is not None}


def checked_fidelity(fidelity: float | None) -> float:
    """Return a fidelity as a float; None, which means a full run, as infinity.

    Raises:
        ValueError: If the fidelity is negative or NaN.
    """
    if fidelity is None:
        return math.inf
    if not fidelity >= 0:
        raise ValueError(f"a fidelity must be a number >= 0, or None for a full run; got {fidelity}")
    return float(fidelity)


def finite_list(values: list[float] | Array) -> list[float | None]:
    """Return values with infinities as None, since JSON has no infinity."""
    return [float(value) if math.isfinite(value) else None for value in values]


def infinite_list(values: list[float | None], infinity: float) -> list[float]:
    """Return values with None as ``infinity``."""
    return [infinity if value is None else value for value in values]
