"""What a swarm remembers: every result, and every configuration that was ever flown."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searchers.parameters import Array
from searchers.space import Space

Curve = dict[float, float]  # fidelity -> finite value


class Archive:
    """Results in the order in which they came, and the set of configurations seen (running ones included).

    Positions are snapped ones (`searchers.space.Space.snap`). What was seen is kept as `searchers.space.Space.identify`
    gives it, which differs from them in real numbers alone.
    """

    def __init__(self, n_dims: int) -> None:
        self.n_dims = n_dims
        self.values: list[float] = []  # inf: failed
        self.fidelities: list[float] = []  # inf: a full run
        self._curves: list[Curve] = []
        self._positions: list[Array] = []
        self._seen: dict[bytes, None] = {}

    def __len__(self) -> int:
        return len(self.values)

    @property
    def n_seen(self) -> int:
        return len(self._seen)

    @property
    def positions(self) -> Array:
        """Shape (n_results, n_dims)."""
        return np.array(self._positions).reshape(len(self), self.n_dims)

    def add(self, position: Array, value: float, fidelity: float, curve: Curve | None = None) -> None:
        """File a result; ``curve`` is what the run showed on its way to ``fidelity``."""
        self._positions.append(position)
        self._curves.append({**(curve or {}), fidelity: value} if value < math.inf else {})
        self.values.append(value)
        self.fidelities.append(fidelity)

    def mark_seen(self, identity: Array) -> bool:
        """False if it was seen before."""
        key = identity.tobytes()
        new = key not in self._seen
        self._seen[key] = None
        return new

    def unseen(self, positions: Array) -> NDArray[np.bool_]:
        """(n, n_dims) -> (n,). Only ``mark_seen`` can tell of real numbers."""
        return np.array([position.tobytes() not in self._seen for position in positions], dtype=bool)

    def first_unseen(self, space: Space, start: int) -> Array | None:
        """The position of the first unseen configuration of a finite space, counted from ``start`` round to it."""
        size = int(space.size)
        places = (space.position_at((start + offset) % size) for offset in range(size))
        return next((place for place in places if self.unseen(space.snap(place[None, :]))[0]), None)

    def comparable(self, full: float, at_least: int) -> tuple[NDArray[np.intp], Array]:
        """What can be compared: values at one fidelity, the highest that ``at_least`` runs have come to.

        Where none has so many, the fidelity that most came to. Only fidelities at which runs ended are looked at; a
        run that went past one counts there by what it reported on its way. (The rule of BOHB: S. Falkner, A. Klein,
        F. Hutter, ICML 2018. That early stopping promotes its first runs whatever they are worth does no harm here:
        each is compared by its value among runs that came as far.)

        Args:
            full: The fidelity of a full run; those past it are full ones too.
            at_least: Values to learn from.

        Returns:
            Indices of the results, in order, and their values, (n,) each. Failures are among them, with value inf.
        """
        shown = [{min(at, full): value for at, value in curve.items()} for curve in self._curves]
        rungs = sorted({max(curve) for curve in shown if curve}, reverse=True)
        came = {rung: sum(rung in curve for curve in shown) for rung in rungs}
        rung = next((rung for rung in rungs if came[rung] >= at_least), max(rungs, key=came.__getitem__, default=full))
        values = [(i, curve.get(rung, math.inf)) for i, curve in enumerate(shown) if rung in curve or not curve]
        indices = np.array([i for i, _ in values], dtype=np.intp)
        return indices, np.array([value for _, value in values], dtype=float)

    def get_state(self) -> dict[str, Any]:
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
        archive = cls(n_dims)
        archive._positions = [np.array(position, dtype=float) for position in state["positions"]]
        archive.values = infinite_list(state["values"], math.inf)
        archive.fidelities = infinite_list(state["fidelities"], math.inf)
        archive._curves = [curve_from_json(curve) for curve in state["curves"]]
        archive._seen = {np.array(position, dtype=float).tobytes(): None for position in state["seen"]}
        return archive


def curve_to_json(curve: Curve) -> list[list[float | None]]:
    return [[at if math.isfinite(at) else None, value] for at, value in curve.items()]


def curve_from_json(pairs: list[list[float | None]]) -> Curve:
    return {math.inf if at is None else at: float(value) for at, value in pairs if value is not None}


def checked_fidelity(fidelity: float | None) -> float:
    """None, a full run, as infinity.

    Raises:
        ValueError: If the fidelity is negative or NaN.
    """
    if fidelity is None:
        return math.inf
    if not fidelity >= 0:
        raise ValueError(f"a fidelity is a number >= 0, or None for a full run; got {fidelity}")
    return float(fidelity)


def finite_list(values: list[float] | Array) -> list[float | None]:
    """Infinities as None: JSON has no infinity."""
    return [float(value) if math.isfinite(value) else None for value in values]


def infinite_list(values: list[float | None], infinity: float) -> list[float]:
    return [infinity if value is None else value for value in values]
