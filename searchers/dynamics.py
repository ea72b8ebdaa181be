"""The motion of particles: topologies, the velocity update, and the handling of bounds.

The update of a particle with position x, velocity v, personal best p and neighbourhood's best g is

    v <- w v + c1 r1 (p - x) + c2 r2 (g - x)
    x <- x + v

with r1 and r2 drawn from U(0, 1) for each coordinate (J. Kennedy and R. Eberhart, "Particle swarm optimization", ICNN
1995). The inertia weight w is that of Y. Shi and R. Eberhart, "A modified particle swarm optimizer", CEC 1998.
Positions are in the unit cube; velocities are in cube widths per move.
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
    """Check a setting with a fixed set of values.

    Args:
        kind: Name of the setting.
        name: Its value.
        names: The Literal type of allowed values.

    Raises:
        ValueError: If ``name`` is not among them.
    """
    if name not in get_args(names):
        raise ValueError(f"{kind} must be one of {', '.join(get_args(names))}; got {name!r}")


def informants(topology: TopologyName, particle: int, n_particles: int) -> NDArray[np.intp]:
    """Return the informants of a particle, itself included, in a fixed topology.

    ``ring`` and ``von-neumann`` are those of J. Kennedy and R. Mendes, "Population structure and particle swarm
    performance", CEC 2002. The von Neumann grid is a torus, as close to a square as the divisors of ``n_particles``
    allow. All particles are informants in any other topology.
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
    """Draw the informants of Clerc's random topology: each particle itself and three others, (n_particles, 4)."""
    drawn = rng.integers(n_particles, size=(n_particles, N_INFORMANTS))
    return np.column_stack([np.arange(n_particles), drawn])


def constriction(cognitive: float, social: float) -> float:
    """Return the constriction coefficient chi of M. Clerc and J. Kennedy, IEEE Trans. Evol. Comput. 6, 2002, eq. 4.

    Raises:
        ValueError: If c1 + c2 <= 4.
    """
    phi = cognitive + social
    if phi <= 4:
        raise ValueError(f"constriction needs cognitive + social > 4; got {cognitive} + {social}")
    return 2 / abs(2 - phi - math.sqrt(phi * phi - 4 * phi))  # chi = 2 / |2 - phi - sqrt(phi^2 - 4 phi)|


def confine(position: Array, velocity: Array, rule: BoundsName, rng: np.random.Generator) -> tuple[Array, Array]:
    """Bring positions that are outside the unit cube back inside.

    The rules, each applied to single coordinates, are from S. Helwig, J. Branke, S. Mostaghim, "Experimental analysis
    of bound handling techniques in particle swarm optimization", IEEE Trans. Evol. Comput. 17, 2013.

    Args:
        position: Positions, (..., n_dims).
        velocity: Velocities, (..., n_dims).
        rule: ``reflect`` mirrors the position at the bound and turns the velocity; ``absorb`` puts it on the bound,
            ``random`` at a random position, both with velocity 0; ``periodic`` lets it enter at the opposite bound.
        rng: Draws random positions.

    Returns:
        Positions and velocities, (..., n_dims) each.
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
    # Reflection has period 2: mirror images of the cube alternate, and a position in a turned one moves backwards.
    folded = position % 2.0
    turned = folded > 1
    inside = np.where(turned, 2.0 - folded, folded)
    return inside, np.where(outside, np.where(turned, -velocity, velocity), velocity)


@dataclass(frozen=True)
class Settings:
    """Settings of a swarm's motion, as documented in `ParticleSwarm`.

    Raises:
        ValueError: If a setting is outside its range.
    """

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

    @classmethod
    def of(
        cls,
        n_particles: int,
        topology: TopologyName,
        inertia: InertiaName,
        cognitive: float | None,
        social: float | None,
        velocity_limit: float,
        bounds: BoundsName,
        budget: int,
        generational: bool,
    ) -> Settings:
        """Return settings with the inertia weights and coefficients that belong to a rule of inertia, unless given."""
        coefficient = 2.05 if inertia == "constriction" else 1.494
        start, end = {"linear": (0.7, 0.3), "adaptive": (0.4, 0.9)}.get(inertia, (0.729, 0.729))
        c1, c2 = (coefficient if each is None else each for each in (cognitive, social))
        return cls(n_particles, topology, inertia, start, end, c1, c2, velocity_limit, bounds, budget, generational)

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, plain(getattr(self, field.name)))
        if isinstance(self.n_particles, bool) or not isinstance(self.n_particles, int) or self.n_particles < 1:
            raise ValueError(f"n_particles must be an integer >= 1; got {self.n_particles!r}")
        check_name("topology", self.topology, TopologyName)
        check_name("inertia", self.inertia, InertiaName)
        check_name("bounds", self.bounds, BoundsName)
        if not self.velocity_limit > 0:
            raise ValueError(f"velocity_limit, in widths of the range, must be > 0; got {self.velocity_limit}")
        if not (math.isfinite(self.cognitive) and math.isfinite(self.social)):
            raise ValueError(f"cognitive and social must be finite; got {self.cognitive} and {self.social}")
        if not self.budget >= 1:
            raise ValueError(f"budget, in evaluations, must be >= 1; got {self.budget}")
        if self.inertia == "constriction":
            constriction(self.cognitive, self.social)  # raises if the coefficients don't allow it

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON values; an infinite velocity limit as None."""
        return {**asdict(self), "velocity_limit": self.velocity_limit if math.isfinite(self.velocity_limit) else None}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Settings:
        """Return the settings that ``to_json`` described."""
        limit = state["velocity_limit"]
        return cls(**{**state, "velocity_limit": math.inf if limit is None else limit})

    def inertia_at(self, progress: float) -> float:
        """Return the inertia weight after a share ``progress``, 0 to 1, of the way from its start to its end."""
        # Shi and Eberhart (1998): w(t) = w_start + (w_end - w_start) t / t_max
        return self.inertia_start + (self.inertia_end - self.inertia_start) * progress

    def velocities(
        self, velocity: Array, to_own: Array, to_group: Array, weight: float, n: int, rng: np.random.Generator
    ) -> Array:
        """Draw new velocities of one particle, each with its own r1 and r2.

        Args:
            velocity: Velocity v of the particle, (n_dims,).
            to_own: p - x, from its position to its personal best, (n_dims,).
            to_group: g - x, from its position to its neighbourhood's best, (n_dims,).
            weight: Inertia weight w; not used with constriction.
            n: Number of velocities.
            rng: Draws r1 and r2.

        Returns:
            Velocities, (n, n_dims), within the velocity limit.
        """
        shape = (n, len(velocity))
        # c1 r1 (p - x) + c2 r2 (g - x)
        pull = self.cognitive * rng.random(shape) * to_own + self.social * rng.random(shape) * to_group
        if self.inertia == "constriction":
            new = constriction(self.cognitive, self.social) * (velocity + pull)  # Clerc and Kennedy: chi (v + ...)
        else:
            new = weight * velocity + pull
        # Vmax of Kennedy and Eberhart (1995)
        limited: Array = np.clip(new, -self.velocity_limit, self.velocity_limit)
        return limited
