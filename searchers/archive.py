"""The archive of a swarm: every result, and every configuration that was ever asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searchers.parameters import Array
from searchers.space import Space

Curve = dict[float, float]  # fidelity -> finite value
Value = float | Sequence[float] | None
"""Result to minimise: a number, or one for each of several objectives; None for a failure."""


class Rungs:
    """Results by fidelity, kept as they come: a search of thousands asks at each move.

    Attributes:
        full: Fidelity of a full run; runs past it count as full.
        ends: Fidelities at which runs ended.
        values: Values by result, by fidelity.
        failures: Indices of failures.
    """

    def __init__(self, full: float = math.inf) -> None:
        self.full = full
        self.ends: set[float] = set()
        self.values: dict[float, dict[int, float]] = {}
        self.failures: list[int] = []

    def add(self, index: int, curve: Curve) -> None:
        """Add the curve of a result, empty for a failure."""
        if not curve:
            self.failures.append(index)
            return
        for fidelity, value in curve.items():
            self.values.setdefault(min(fidelity, self.full), {})[index] = value
        self.ends.add(min(max(curve), self.full))

    def at(self, fidelity: float) -> tuple[NDArray[np.intp], Array]:
        """Return the indices of the results at a fidelity and of failures, in order, and their values, (n,) each."""
        values = {**self.values.get(fidelity, {}), **dict.fromkeys(self.failures, math.inf)}
        indices = np.fromiter(values, dtype=np.intp, count=len(values))
        order = np.argsort(indices, kind="stable")
        return indices[order], np.fromiter(values.values(), dtype=float, count=len(values))[order]


class Archive:
    """Results in the order in which they came, and the set of configurations seen, running ones included.

    Positions of results are snapped (`searchers.space.Space.snap`). Seen configurations are stored as their identities
    (`searchers.space.Space.identify`), which differ from snapped positions in real-valued parameters only.

    Attributes:
        n_dims: Number of coordinates.
        values: Values of the results; inf for failures.
        fidelities: Fidelities of the results; inf for full runs.
        deviations: Standard deviations of the values' noise; NaN where unknown.
    """

    def __init__(self, n_dims: int) -> None:
        self.n_dims = n_dims
        self.values: list[float] = []
        self.fidelities: list[float] = []
        self.deviations: list[float] = []
        self._curves: list[Curve] = []
        self._rungs = Rungs()
        self._positions = np.empty((64, n_dims))  # grows by doubling
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
        return self._positions[: len(self)]

    def add(
        self, position: Array, value: float, fidelity: float, curve: Curve | None = None, deviation: float | None = None
    ) -> None:
        """Add a result.

        Args:
            position: Snapped position, (n_dims,).
            value: Value at ``fidelity``; inf for a failure.
            fidelity: Fidelity that the run reached; inf for a full run.
            curve: Values that the run reported on its way, by fidelity.
            deviation: Standard deviation of the value's noise; None if unknown.
        """
        if len(self) == len(self._positions):
            self._positions = np.concatenate([self._positions, np.empty((max(64, len(self)), self.n_dims))])
        self._positions[len(self)] = position
        self._curves.append({**(curve or {}), fidelity: value} if value < math.inf else {})
        self._rungs.add(len(self), self._curves[-1])
        self.values.append(value)
        self.fidelities.append(fidelity)
        self.deviations.append(math.nan if deviation is None else deviation)

    def revalue(self, curves: list[Curve]) -> None:
        """Replace the curve of each result, empty for a failure, and so its value."""
        self._curves = curves
        self.values = [curve[max(curve)] if curve else math.inf for curve in curves]
        self._rungs = Rungs(self._rungs.full)
        for i, curve in enumerate(curves):
            self._rungs.add(i, curve)

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
        rungs = self._rungs_up_to(full)
        enough = (rung for rung in sorted(rungs.ends, reverse=True) if len(rungs.values[rung]) >= at_least)
        most_common = max(rungs.ends, key=lambda rung: (len(rungs.values[rung]), rung), default=full)
        return rungs.at(next(enough, most_common))

    def _rungs_up_to(self, full: float) -> Rungs:
        if self._rungs.full != full:
            self._rungs = Rungs(full)
            for i, curve in enumerate(self._curves):
                self._rungs.add(i, curve)
        return self._rungs

    def get_state(self) -> dict[str, Any]:
        """Return the archive as JSON values."""
        seen = [np.frombuffer(key).tolist() for key in self._seen]
        return {
            "positions": self.positions.tolist(),
            "values": finite_list(self.values),
            "fidelities": finite_list(self.fidelities),
            "deviations": finite_list(self.deviations),
            "curves": [curve_to_json(curve) for curve in self._curves],
            "seen": seen,
        }

    @classmethod
    def from_state(cls, n_dims: int, state: dict[str, Any]) -> Archive:
        """Return the archive that ``get_state`` described."""
        archive = cls(n_dims)
        archive.values = infinite_list(state["values"], math.inf)
        archive._positions = np.array(state["positions"], dtype=float).reshape(len(archive), n_dims)
        archive.fidelities = infinite_list(state["fidelities"], math.inf)
        archive.deviations = infinite_list(state.get("deviations", [None] * len(archive.values)), math.nan)
        archive._curves = [curve_from_json(curve) for curve in state["curves"]]
        for i, curve in enumerate(archive._curves):
            archive._rungs.add(i, curve)
        archive._seen = {np.array(position, dtype=float).tobytes(): None for position in state["seen"]}
        return archive


def curve_to_json(curve: Mapping[float, Any]) -> list[list[Any]]:
    """Return a curve as [fidelity, value] pairs; infinite fidelity as None."""
    return [[at if math.isfinite(at) else None, value] for at, value in curve.items()]


def curve_from_json(pairs: list[list[Any]]) -> dict[float, Any]:
    """Return the curve that ``curve_to_json`` described."""
    return {
        math.inf if at is None else at: tuple(value) if isinstance(value, list) else float(value)
        for at, value in pairs
        if value is not None
    }


def check_deviation(deviation: float | None) -> None:
    """Check a standard deviation of noise; None means that it is not known.

    Raises:
        ValueError: If it is negative, NaN or infinite.
    """
    if deviation is not None and not (deviation >= 0 and math.isfinite(deviation)):
        raise ValueError(f"a standard deviation of noise must be a finite number >= 0, or None; got {deviation}")


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
