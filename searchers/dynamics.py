"""The rules of a swarm's motion: who informs whom, how fast, and what happens at the walls.

v <- w v + c1 r1 (p - x) + c2 r2 (g - x);  x <- x + v, with r1, r2 uniform in [0, 1] a coordinate
(J. Kennedy and R. Eberhart, "Particle swarm optimization", ICNN 1995; w from Y. Shi and R. Eberhart, "A modified
particle swarm optimizer", CEC 1998). Positions live in the unit cube, velocities are in cube widths a move.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from searchers.parameters import Array, plain

TopologyName = Literal["global", "ring", "von-neumann", "random"]
InertiaName = Literal["constant", "constriction", "linear", "adaptive"]
BoundsName = Literal["reflect", "absorb", "random", "periodic"]

N_INFORMANTS = 3  # M. Clerc, "Standard Particle Swarm Optimisation" (2006/2011): each particle informs three others


def check_name(kind: str, name: str, names: object) -> None:
    """Raises ValueError if ``name`` is not one of the Literal ``names``."""
    if name not in get_args(names):
        raise ValueError(f"{kind} is one of {', '.join(get_args(names))}; got {name!r}")


def informants(topology: TopologyName, particle: int, n_particles: int) -> NDArray[np.intp]:
    """The particles that a particle hears of, itself included, in the fixed topologies.

    Ring and von Neumann (a torus as near to square as n_particles' divisors allow): J. Kennedy and R. Mendes,
    "Population structure and particle swarm performance", CEC 2002.
    """
    if topology == "ring":
        return np.unique([(particle - 1) % n_particles, particle, (particle + 1) % n_particles])
    if topology == "von-neumann":
        columns = next(n for n in range(int(math.sqrt(n_particles)), 0, -1) if n_particles % n == 0)
        rows = n_particles // columns
        row, column = divmod(particle, columns)
        around = [((row + i) % rows) * columns + (column + j) % columns for i, j in ((0, 0), (1, 0), (-1, 0))]
        return np.unique([*around, row * columns + (column + 1) % columns, row * columns + (column - 1) % columns])
    return np.arange(n_particles)


def draw_informants(n_particles: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """(n_particles, 4): for each particle itself and three drawn at random (Clerc's random topology)."""
    drawn = rng.integers(n_particles, size=(n_particles, N_INFORMANTS))
    return np.column_stack([np.arange(n_particles), drawn])


def constriction(cognitive: float, social: float) -> float:
    """chi = 2 / |2 - phi - sqrt(phi^2 - 4 phi)|, phi = c1 + c2 > 4 (Clerc and Kennedy, IEEE TEC 6, 2002, eq. 4).

    Raises:
        ValueError: If phi <= 4.
    """
    phi = cognitive + social
    if phi <= 4:
        raise ValueError(f"constriction needs cognitive + social > 4; got {cognitive} + {social}")
    return 2 / abs(2 - phi - math.sqrt(phi * phi - 4 * phi))


def confine(position: Array, velocity: Array, rule: BoundsName, rng: np.random.Generator) -> tuple[Array, Array]:
    """Positions and velocities, shape (..., n_dims), back inside the unit cube.

    reflect: mirrored at the wall, velocity turned; absorb: stopped at the wall; random: to a random place, stopped;
    periodic: in again at the other side (S. Helwig, J. Branke, S. Mostaghim, "Experimental analysis of bound handling
    techniques in particle swarm optimization", IEEE TEC 17, 2013).
    """
    outside = (position < 0) | (position > 1)
    if not outside.any():
        return position, velocity
    if rule == "periodic":
        return position % 1.0, velocity
    if rule == "absorb":
        return np.clip(position, 0, 1), np.where(outside, 0.0, velocity)
    if rule == "random":
        return np.where(outside, rng.random(position.shape), position), np.where(outside, 0.0, velocity)
    folded = position % 2.0
    turned = folded > 1
    inside = np.where(turned, 2.0 - folded, folded)
    return inside, np.where(outside, np.where(turned, -velocity, velocity), velocity)


@dataclass(frozen=True)
class Settings:
    """How a swarm moves; see `ParticleSwarm`."""

    n_particles: int
    topology: TopologyName
    inertia: InertiaName
    inertia_start: float
    inertia_end: float
    cognitive: float
    social: float
    velocity_limit: float
    bounds: BoundsName
    budget: int
    generational: bool

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, plain(getattr(self, field.name)))
        if isinstance(self.n_particles, bool) or not isinstance(self.n_particles, int) or self.n_particles < 1:
            raise ValueError(f"n_particles is a whole number >= 1; got {self.n_particles!r}")
        check_name("topology", self.topology, TopologyName)
        check_name("inertia", self.inertia, InertiaName)
        check_name("bounds", self.bounds, BoundsName)
        if not self.velocity_limit > 0:
            raise ValueError(f"velocity_limit, in widths of the range, is > 0; got {self.velocity_limit}")
        if not (math.isfinite(self.cognitive) and math.isfinite(self.social)):
            raise ValueError(f"cognitive and social are finite numbers; got {self.cognitive} and {self.social}")
        if not self.budget >= 1:
            raise ValueError(f"budget, in evaluations, is >= 1; got {self.budget}")
        if self.inertia == "constriction":
            constriction(self.cognitive, self.social)

    def to_json(self) -> dict[str, Any]:
        """JSON has no infinity: None."""
        return {**asdict(self), "velocity_limit": self.velocity_limit if math.isfinite(self.velocity_limit) else None}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Settings:
        limit = state["velocity_limit"]
        return cls(**{**state, "velocity_limit": math.inf if limit is None else limit})

    def inertia_at(self, settled: float) -> float:
        """The inertia weight, ``settled`` being how far the rule has come from its start (0) to its end (1)."""
        return self.inertia_start + (self.inertia_end - self.inertia_start) * settled

    def velocities(
        self, velocity: Array, to_own: Array, to_group: Array, weight: float, n: int, rng: np.random.Generator
    ) -> Array:
        """(n, n_dims) new velocities of one particle, each from its own r1 and r2.

        Args:
            velocity: Its velocity, (n_dims,).
            to_own: From its position to its personal best, (n_dims,).
            to_group: From its position to its neighbourhood's best, (n_dims,).
            weight: Inertia weight.
            n: How many.
            rng: Draws r1 and r2.
        """
        shape = (n, len(velocity))
        pull = self.cognitive * rng.random(shape) * to_own + self.social * rng.random(shape) * to_group
        if self.inertia == "constriction":
            new = constriction(self.cognitive, self.social) * (velocity + pull)
        else:
            new = weight * velocity + pull
        limited: Array = np.clip(new, -self.velocity_limit, self.velocity_limit)
        return limited
