"""Moves in the air: asked for and not told. Some are never told, so that a swarm must know when to stop waiting.

A particle waits for its move; but a machine may be gone, or a time budget have cut the run off. A move that has been
silent, neither reporting nor told, while three results a particle (a move in the air, if those are more) came in is
given up: by then every other particle has moved three times, and its own flies on from where it last landed. Little
hangs on the guess. A slow run that is taken for a lost one gives its particle one move more, and counts like any other
when it is told after all. ``give_up`` says it of a move that is known to be lost. A generation gives nothing up by
itself: it waits for its last particle, and no more than a result a particle comes in meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from searchers.archive import Curve, curve_from_json, curve_to_json
from searchers.parameters import Array

PATIENCE = 3  # moves of every other particle (or worker, if those are more) before a silent one is given up


@dataclass
class Flight:
    """A move in the air: the particle that made it, where it is, its velocity there, what it has reported so far.

    ``heard``: when it was asked for or last reported, counted in results.
    """

    particle: int
    position: Array
    velocity: Array
    curve: Curve = field(default_factory=dict)
    heard: int = 0

    def to_json(self) -> list[Any]:
        return [self.particle, self.position.tolist(), self.velocity.tolist(), curve_to_json(self.curve), self.heard]

    @classmethod
    def from_json(
        cls, particle: int, position: list[float], velocity: list[float], curve: list[Any], heard: int
    ) -> Flight:
        return cls(particle, np.array(position), np.array(velocity), curve_from_json(curve), heard)


class Flights:
    """The moves in the air of ``n_particles``.

    A move that was given up no longer keeps its particle from moving. It comes back when something is heard of it, and
    it lands like any other.

    Attributes:
        in_air: (n_particles,) moves that each particle waits for.
    """

    def __init__(self, n_particles: int) -> None:
        self.in_air = np.zeros(n_particles, dtype=int)
        self._awaited: dict[int, Flight] = {}  # in the order in which they were heard of
        self._given_up: dict[int, Flight] = {}

    def __contains__(self, id: int) -> bool:
        return id in self._awaited or id in self._given_up

    def __getitem__(self, id: int) -> Flight:
        return self._awaited[id] if id in self._awaited else self._given_up[id]

    @property
    def ids(self) -> list[int]:
        return sorted([*self._awaited, *self._given_up])

    @property
    def awaited(self) -> list[Flight]:
        return list(self._awaited.values())

    def hear(self, id: int, flight: Flight, now: int) -> None:
        """A move took off, or reported, when there were ``now`` results."""
        self.land(id)
        flight.heard = now
        self._awaited[id] = flight
        self.in_air[flight.particle] += 1

    def land(self, id: int) -> Flight | None:
        """Take a move out of the air; None if it is not there."""
        self.give_up(id)
        return self._given_up.pop(id, None)

    def give_up(self, id: int) -> None:
        """Wait no longer for a move."""
        flight = self._awaited.pop(id, None)
        if flight is not None:
            self.in_air[flight.particle] -= 1
            self._given_up[id] = flight

    def give_up_silent(self, now: int) -> None:
        """Wait no longer for moves that said nothing while others landed ``PATIENCE`` times a particle or worker."""
        patience = PATIENCE * max(len(self.in_air), len(self._awaited))
        while self._awaited:
            id = next(iter(self._awaited))  # that which was heard of the longest ago
            if now - self._awaited[id].heard < patience:
                return
            self.give_up(id)

    def get_state(self) -> dict[str, Any]:
        groups = {"awaited": self._awaited, "given_up": self._given_up}
        return {name: [[id, *flight.to_json()] for id, flight in group.items()] for name, group in groups.items()}

    def set_state(self, state: dict[str, Any]) -> None:
        self._given_up = {id: Flight.from_json(*flight) for id, *flight in state["given_up"]}
        for id, *saved in state["awaited"]:
            flight = Flight.from_json(*saved)
            self.hear(id, flight, flight.heard)
