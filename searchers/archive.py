"""What a swarm remembers: every result, and every configuration that was ever flown."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searchers.parameters import Array
from searchers.space import Space


class Archive:
    """Results in the order in which they came, and the set of configurations seen (running ones included).

    Positions are snapped ones (`searchers.space.Space.snap`), so that equal configurations are equal rows.
    """

    def __init__(self, n_dims: int) -> None:
        self.n_dims = n_dims
        self.values: list[float] = []  # inf: failed
        self.fidelities: list[float] = []  # inf: a full run
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

    def add(self, position: Array, value: float, fidelity: float) -> None:
        self._positions.append(position)
        self.values.append(value)
        self.fidelities.append(fidelity)

    def mark_seen(self, position: Array) -> None:
        self._seen[position.tobytes()] = None

    def unseen(self, positions: Array) -> NDArray[np.bool_]:
        """(n, n_dims) -> (n,)."""
        return np.array([position.tobytes() not in self._seen for position in positions], dtype=bool)

    def first_unseen(self, space: Space, start: int) -> Array | None:
        """The position of the first unseen configuration of a finite space, counted from ``start`` round to it."""
        size = int(space.size)
        places = (space.position_at((start + offset) % size) for offset in range(size))
        return next((place for place in places if self.unseen(space.snap(place[None, :]))[0]), None)

    def ranks(self, full: float) -> Array:
        """Shape (n_results,): 0 for the best to 1 for the worst, by fidelity, then value; equals share their mean.

        Args:
            full: The fidelity of a full run.
        """
        fidelity = np.minimum(self.fidelities, full)
        _, group = np.unique(np.column_stack([-fidelity, self.values]), axis=0, return_inverse=True)
        group = group.reshape(-1)
        counts = np.bincount(group)
        middle = np.cumsum(counts) - 0.5 * (counts + 1)
        ranks: Array = middle[group] / max(len(self) - 1, 1)
        return ranks

    def comparable(self, full: float) -> bool:
        """True if all successes are of one fidelity."""
        pairs = zip(self.values, self.fidelities, strict=True)
        return len({min(fidelity, full) for value, fidelity in pairs if value < math.inf}) <= 1

    def get_state(self) -> dict[str, Any]:
        seen = [np.frombuffer(key).tolist() for key in self._seen]
        return {
            "positions": [position.tolist() for position in self._positions],
            "values": finite_list(self.values),
            "fidelities": finite_list(self.fidelities),
            "seen": seen,
        }

    @classmethod
    def from_state(cls, n_dims: int, state: dict[str, Any]) -> Archive:
        archive = cls(n_dims)
        archive._positions = [np.array(position, dtype=float) for position in state["positions"]]
        archive.values = infinite_list(state["values"], math.inf)
        archive.fidelities = infinite_list(state["fidelities"], math.inf)
        archive._seen = {np.array(position, dtype=float).tobytes(): None for position in state["seen"]}
        return archive


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
