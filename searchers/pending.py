"""Pending moves: those that were asked for and have no result yet.

Some never get one: a machine may be lost, or a time budget may have cut the run off. So a swarm has to decide when to
stop waiting. It gives a move up that was silent (neither reported nor told) while the other particles each got
``PATIENCE`` results; with more pending moves than particles, while each pending move could have got as many. The
particle then moves on from its last position. A wrong guess costs little: a slow run that was given up gave its
particle one move more, and its result counts like any other when it comes.

``give_up`` does the same at once for a move that is known to be lost. A generational swarm gives no move up by itself:
it waits for its last particle, and gets at most one result per particle meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from searchers.archive import curve_from_json, curve_to_json
from searchers.parameters import Array

PATIENCE = 3  # results per particle (or per pending move, if those are more) before a silent move is given up


@dataclass(frozen=True)
class Move:
    """A configuration to evaluate.

    Attributes:
        id: Number by which ``tell`` knows the move.
        config: The configuration.
    """

    id: int
    config: dict[str, Any]


@dataclass
class PendingMove:
    """A move without a result.

    Attributes:
        particle: Index of the particle that made it.
        position: Position of the configuration, (n_dims,).
        velocity: Velocity of the particle there, (n_dims,).
        curve: Values reported so far, by fidelity; each a vector if there are several objectives.
        last_heard: Number of results in the archive when the move was made or last reported.
    """

    particle: int
    position: Array
    velocity: Array
    curve: dict[float, Any] = field(default_factory=dict)
    last_heard: int = 0

    def to_json(self) -> list[Any]:
        """Return the move as JSON values."""
        return [
            self.particle,
            self.position.tolist(),
            self.velocity.tolist(),
            curve_to_json(self.curve),
            self.last_heard,
        ]

    @classmethod
    def from_json(
        cls, particle: int, position: list[float], velocity: list[float], curve: list[Any], last_heard: int
    ) -> PendingMove:
        """Return the move that ``to_json`` described."""
        return cls(particle, np.array(position), np.array(velocity), curve_from_json(curve), last_heard)


class PendingMoves:
    """The pending moves of ``n_particles`` particles: those awaited, and those given up.

    A move that was given up no longer counts for its particle. It is awaited again as soon as it reports, and its
    result is taken like any other.

    Attributes:
        n_pending: Number of awaited moves of each particle, (n_particles,).
    """

    def __init__(self, n_particles: int) -> None:
        self.n_pending = np.zeros(n_particles, dtype=int)
        self._awaited: dict[int, PendingMove] = {}  # in ascending order of last_heard
        self._given_up: dict[int, PendingMove] = {}

    def __contains__(self, id: int) -> bool:
        return id in self._awaited or id in self._given_up

    def __getitem__(self, id: int) -> PendingMove:
        return self._awaited[id] if id in self._awaited else self._given_up[id]

    @property
    def ids(self) -> list[int]:
        """Ids of all pending moves, ascending."""
        return sorted([*self._awaited, *self._given_up])

    @property
    def awaited(self) -> list[PendingMove]:
        """Moves that were not given up."""
        return list(self._awaited.values())

    def add(self, id: int, move: PendingMove, now: int) -> None:
        """Await a move that was made, or that reported, when there were ``now`` results."""
        self.pop(id)  # so that the move goes to the end of the order
        move.last_heard = now
        self._awaited[id] = move
        self.n_pending[move.particle] += 1

    def pop(self, id: int) -> PendingMove | None:
        """Remove and return a move; None if it is not pending."""
        self.give_up(id)
        return self._given_up.pop(id, None)

    def give_up(self, id: int) -> None:
        """Stop waiting for a move; a move that isn't awaited is ignored."""
        move = self._awaited.pop(id, None)
        if move is not None:
            self.n_pending[move.particle] -= 1
            self._given_up[id] = move

    def give_up_silent(self, now: int) -> None:
        """Stop waiting for the moves that were silent for too long, with ``now`` results in the archive."""
        patience = PATIENCE * max(len(self.n_pending), len(self._awaited))
        while self._awaited:
            id = next(iter(self._awaited))  # the one that has been silent longest
            if now - self._awaited[id].last_heard < patience:
                return
            self.give_up(id)

    def get_state(self) -> dict[str, Any]:
        """Return all moves as JSON values."""
        groups = {"awaited": self._awaited, "given_up": self._given_up}
        return {name: [[id, *move.to_json()] for id, move in group.items()] for name, group in groups.items()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Add the moves that ``get_state`` described."""
        self._given_up = {id: PendingMove.from_json(*saved) for id, *saved in state["given_up"]}
        for id, *saved in state["awaited"]:
            move = PendingMove.from_json(*saved)
            self.add(id, move, move.last_heard)
