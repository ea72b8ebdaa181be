"""An asynchronous, fidelity-aware particle swarm: ask for a configuration, tell its value, in any order.

A particle moves as soon as its own result is told, with the best that its informants know by then (asynchronous PSO:
B.-I. Koh et al., "Parallel asynchronous particle swarm optimization", Int. J. Numer. Meth. Engng 67, 2006; G. Venter
and J. Sobieszczanski-Sobieski, "A parallel particle swarm optimization algorithm accelerated by asynchronous
evaluations", JACIC 3, 2006). Motion is in `searchers.dynamics`, the choice among candidate moves in
`searchers.screening`.

What this implementation adds:

* **More asks than particles.** The particle with the fewest moves in the air makes another, from where it is, with
  fresh random numbers. Each counts for the particle that made it, so a swarm keeps its few informed particles however
  many workers there are; growing the swarm instead would spend the budget on first, random points. Before anything is
  known of a particle its further moves are Sobol points, so 64 workers start on 64 well spread points.
* **Fidelity.** A result at a higher fidelity ranks before any at a lower one, equal fidelities compare values. So a
  configuration that looked good after one epoch never stands in for one that was trained to the end, yet a particle
  whose runs are all stopped early still follows the best of them. This is the rule of Optuna's TPE sampler; DEHB's
  (one population a fidelity) needs a budget schedule of its own, which belongs to the trial scheduler here. Bests
  follow it; screening learns from the values of one fidelity at a time (`searchers.archive.Archive.comparable`), to
  which stopped runs contribute what they ``report`` on their way.
* **Failures** (None, NaN, infinite of either sign) count as worst, leave bests alone, and the particle flies on.
* **Lost moves.** A move that stays silent for long is given up, and its particle flies on (`searchers.flights`).
* **No configuration twice** while unseen ones remain, running ones included.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searchers.archive import Archive, Curve, checked_fidelity
from searchers.dynamics import BoundsName, InertiaName, Settings, TopologyName, confine
from searchers.flights import Flight, Flights
from searchers.parameters import Array
from searchers.particles import Particles
from searchers.screening import Screen, Screening
from searchers.sobol import Sobol
from searchers.space import Space

STATE_VERSION = 4


@dataclass(frozen=True)
class Move:
    """A configuration to evaluate. ``tell`` its value under its ``id``."""

    id: int
    config: dict[str, Any]


class ParticleSwarm:
    """Particle swarm optimisation by ask and tell; minimises.

    Args:
        space: A `Space`, or a dict of `Float`, `Integer`, `Ordinal`, `Categorical`, constants, dicts and lists of them.
        n_particles: Particles, each with a position, a velocity and a personal best.
        topology: Who informs whom: ``global``, ``ring``, ``von-neumann`` or ``random``.
        seed: One seed gives one sequence; None takes fresh entropy.
        inertia: w. ``linear`` falls over ``budget`` (Shi and Eberhart 1998), from 0.7 to 0.3: their 0.9 to 0.4 is for
            thousands of evaluations, and spends a hundred on wandering; ``constant`` 0.729;
            ``constriction`` (Clerc and Kennedy 2002; coefficients 2.05 unless given); ``adaptive`` rises from 0.4 to
            0.9 with the share of the last ``n_particles`` results that improved a personal best (A. Nickabadi et al.,
            Applied Soft Computing 11, 2011).
        cognitive: c1, the pull of the personal best; 1.494 (R. Eberhart and Y. Shi, CEC 2000).
        social: c2, the pull of the neighbourhood's best; 1.494.
        velocity_limit: Largest velocity a coordinate, in widths of the range (Vmax of Kennedy and Eberhart 1995, which
            Eberhart and Shi, CEC 2000, keep beside inertia and constriction); infinite for none.
        bounds: ``reflect``, ``absorb``, ``random`` or ``periodic``.
        budget: Evaluations over which ``linear`` inertia falls.
        screening: Fly the most promising of many candidate moves (`searchers.screening`). A `Screen` sets how;
            False is plain PSO.
        generational: Wait until every particle has landed before any moves again, for comparison.
        points_to_evaluate: Configurations to fly first; what a partial one lacks comes from the Sobol start.

    Raises:
        ValueError: If a setting is outside what is said here, or a point outside the space.
    """

    def __init__(
        self,
        space: Mapping[str, Any] | Space,
        n_particles: int = 10,
        topology: TopologyName = "global",
        seed: int | None = None,
        *,
        inertia: InertiaName = "linear",
        cognitive: float | None = None,
        social: float | None = None,
        velocity_limit: float = 0.5,
        bounds: BoundsName = "reflect",
        budget: int = 100,
        screening: bool | Screen = True,
        generational: bool = False,
        points_to_evaluate: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        self.space = space if isinstance(space, Space) else Space(space)
        coefficient = 2.05 if inertia == "constriction" else 1.494
        start, end = {"linear": (0.7, 0.3), "adaptive": (0.4, 0.9)}.get(inertia, (0.729, 0.729))
        self.settings = Settings(
            n_particles=n_particles,
            topology=topology,
            inertia=inertia,
            inertia_start=start,
            inertia_end=end,
            cognitive=coefficient if cognitive is None else cognitive,
            social=coefficient if social is None else social,
            velocity_limit=velocity_limit,
            bounds=bounds,
            budget=budget,
            generational=generational,
        )
        screen = (Screen() if screening else None) if isinstance(screening, bool) else screening
        self._screening = None if screen is None else Screening(screen)
        self._rng = np.random.default_rng(seed)
        self._start()
        for point in points_to_evaluate:
            self.enqueue(point)

    def _start(self) -> None:
        settings = self.settings
        self._sobol = Sobol(self.space.n_parameters, self._rng)
        self._particles = Particles(settings.n_particles, self.space.n_dims, settings.topology, self._rng)
        self._improved: deque[bool] = deque(maxlen=settings.n_particles)  # did the latest results improve a best
        self._flights = Flights(settings.n_particles)
        self._queue: list[Array] = []
        self._next_id = 0
        self.archive = Archive(self.space.n_dims)

    # What the user sees

    def enqueue(self, point: Mapping[str, Any]) -> None:
        """Fly ``point`` before anything not yet asked for; parameters that it lacks come from the Sobol sequence.

        Raises:
            ValueError: If a value is outside the space, or a name unknown.
        """
        self._queue.append(self.space.encode(point, fill=self._sobol_position()))

    def ask(self) -> Move | None:
        """The next configuration to evaluate.

        None only when every particle is in the air, and in generational mode; asynchronously there is always a move.
        """
        self._flights.give_up_silent(len(self.archive))
        particle = self._particles.waiting(self._flights.in_air, self.settings.generational)
        if particle is None:
            return None
        position, velocity = self._launch(particle)
        move = Move(self._next_id, self.space.decode(position))
        self._next_id += 1
        self._flights.hear(move.id, Flight(particle, position, velocity), len(self.archive))
        self._particles.n_moves[particle] += 1
        return move

    def report(self, move_id: int, value: float | None, fidelity: float) -> None:
        """What a move in the air has shown at a fidelity; it flies on. Lets runs that end at different ones compare.

        Raises:
            ValueError: If the fidelity is negative or NaN.
        """
        reached = checked_fidelity(fidelity)
        if move_id not in self._flights:
            return
        flight = self._flights[move_id]
        self._flights.hear(move_id, flight, len(self.archive))
        if value is not None and math.isfinite(value):
            flight.curve[reached] = float(value)

    def tell(self, move_id: int, value: float | None, fidelity: float | None = None) -> None:
        """Land a move. Telling it again changes nothing.

        Args:
            move_id: ``Move.id``.
            value: To be minimised; None, NaN and infinities mean that the run failed.
            fidelity: How far the run came (a rung, an epoch), >= 0; None for a full run, which outranks any number
                below ``full_fidelity``.

        Raises:
            KeyError: If no such move was ever asked for.
            ValueError: If the fidelity is negative or NaN.
        """
        if not 0 <= move_id < self._next_id:
            raise KeyError(f"no move {move_id!r} was asked for")
        reached = checked_fidelity(fidelity)
        flight = self._flights.land(move_id)
        if flight is None:
            return
        i, particles = flight.particle, self._particles
        particles.position[i], particles.velocity[i] = flight.position, flight.velocity
        self._improved.append(self._learn(i, flight.position, value, reached, flight.curve))
        particles.landed[i] = len(self.archive)

    def give_up(self, move_id: int) -> None:
        """Wait no longer for a move: its particle flies on. Reported on or told after all, it counts as ever."""
        self._flights.give_up(move_id)

    def add_evaluated(self, config: Mapping[str, Any], value: float | None, fidelity: float | None = None) -> None:
        """Learn from a run made elsewhere. It becomes the personal best of the particle that knows least.

        Raises:
            ValueError: If ``config`` is outside the space or lacks a parameter (names that the space has not are
                ignored), or the fidelity is negative or NaN.
        """
        reached = checked_fidelity(fidelity)
        position = self.space.encode(config, strict=False)
        self._claim(position)
        weakest = self._particles.weakest()
        if self._learn(weakest, position, value, reached):
            self._particles.position[weakest] = position

    @property
    def best(self) -> tuple[dict[str, Any], float] | None:
        """The best configuration and its value, of the highest fidelity reached; None before any success."""
        leader = self._particles.leader
        if leader is None:
            return None
        return self.space.decode(self._particles.best_position[leader]), float(self._particles.best_value[leader])

    @property
    def full_fidelity(self) -> float:
        """Results that reach this are full runs and equals in fidelity; infinite unless set: only None is full."""
        return self._particles.full

    @full_fidelity.setter
    def full_fidelity(self, fidelity: float) -> None:
        self._particles.set_full(fidelity)

    def exhausted(self) -> bool:
        """True if every configuration of a finite space has been asked for or learnt from."""
        return self.archive.n_seen >= self.space.size

    @property
    def flying(self) -> list[int]:
        """Ids of moves asked for and not yet told."""
        return self._flights.ids

    def particle_of(self, move_id: int) -> dict[str, Any]:
        """The particle that flies a move: index, position (unit cube), velocity norm (cube widths), personal best.

        Raises:
            KeyError: If the move is not in the air.
        """
        if move_id not in self._flights:
            raise KeyError(f"move {move_id!r} is not in the air")
        flight = self._flights[move_id]
        return {
            "particle": flight.particle,
            "position": flight.position.tolist(),
            "velocity_norm": float(np.linalg.norm(flight.velocity)),
            "personal_best": self.personal_best(flight.particle),
        }

    def personal_best(self, particle: int) -> float | None:
        """The value of a particle's personal best; None before it has one."""
        best = float(self._particles.best_value[particle])
        return best if math.isfinite(best) else None

    # Motion

    def _launch(self, particle: int) -> tuple[Array, Array]:
        """An unseen position for the particle to fly to, and the velocity that it will have there."""
        while self._queue:
            position = self._queue.pop(0)
            if self._claim(position):
                return position, self._random_velocity()
        if not self._particles.knows(particle):
            return self._unseen_position(), self._random_velocity()
        screening = self._screening if len(self.archive) >= self.settings.n_particles else None
        screen = None if screening is None else screening.screen
        for attempt in range(3):
            positions, velocities = self._candidates(particle, attempt, screen)
            unseen = np.flatnonzero(self._unseen(positions))
            if screening is not None and len(unseen):
                unseen = unseen[self._screened(screening, positions[unseen])]
            for chosen in unseen:  # the first as a rule: at the walls real numbers may be one configuration
                if self._claim(positions[chosen]):
                    return positions[chosen], velocities[chosen]
        return self._unseen_position(), self._random_velocity()

    def _screened(self, screening: Screening, candidates: Array) -> NDArray[np.intp]:
        """Candidate positions, most promising first, by what is known at the highest fidelity that is known enough."""
        at_least = max(self.settings.n_particles, self.space.n_dims + 1)
        known, values = self.archive.comparable(self._particles.full, at_least)
        flying = np.array([flight.position for flight in self._flights.awaited]).reshape(-1, self.space.n_dims)
        scored, flown = self.space.snap(candidates), self.archive.positions[known]
        return screening.order(scored, flown, values, self.space.snap(flying))

    def _candidates(self, particle: int, attempt: int, screen: Screen | None) -> tuple[Array, Array]:
        """Candidate moves: positions and velocities, (n, n_dims) each; jittered more at each attempt but the first."""
        n = screen.n_candidates if screen else (1 if attempt == 0 else 16)
        particles, limit = self._particles, self.settings.velocity_limit
        position, leader = particles.position[particle], particles.best_position[particles.informer(particle)]
        velocity = self.settings.velocities(
            particles.velocity[particle],
            particles.best_position[particle] - position,
            leader - position,
            self.settings.inertia_at(self._settled()),
            n,
            self._rng,
        )
        moved = position + velocity
        if n > 1:
            moved += self._rng.normal(0.0, 0.02 * 4**attempt, moved.shape)
        if screen:
            near = screen.mix(moved, leader, self._rng)
            # A particle keeps the velocity that takes it where it goes.
            velocity[near] = np.clip(moved[near] - position, -limit, limit)
        return confine(moved, velocity, self.settings.bounds, self._rng)

    def _settled(self) -> float:
        """How far inertia has come from its start to its end: by results, or, if adaptive, by success."""
        if self.settings.inertia == "adaptive":
            return sum(self._improved) / max(len(self._improved), 1)
        return min(len(self.archive) / self.settings.budget, 1.0)

    def _learn(
        self, particle: int, position: Array, value: float | None, fidelity: float, curve: Curve | None = None
    ) -> bool:
        """File a result; True if it is the particle's new personal best."""
        number = math.inf if value is None or not math.isfinite(value) else float(value)
        self.archive.add(self._snap(position), number, fidelity, curve)
        return self._particles.learn(particle, position, number, fidelity, self._rng)

    # Places

    def _random_velocity(self) -> Array:
        limit = min(0.5, self.settings.velocity_limit)
        return self._rng.uniform(-limit, limit, self.space.n_dims)

    def _sobol_position(self) -> Array:
        return self.space.spread(self._sobol.next(self._rng))

    def _snap(self, position: Array) -> Array:
        snapped: Array = self.space.snap(position[None, :])[0]
        return snapped

    def _unseen(self, positions: Array) -> NDArray[np.bool_]:
        return self.archive.unseen(self.space.snap(positions))

    def _claim(self, position: Array) -> bool:
        """Seen from now on; False if its configuration was seen before."""
        return self.archive.mark_seen(self.space.identify(position))

    def _unseen_position(self) -> Array:
        """An unseen place of the Sobol sequence; where most are seen, any unseen one; else any."""
        for _ in range(32):
            position = self._sobol_position()
            if self._claim(position):
                return position
        if math.isinf(self.space.size):
            position = self.space.loosen(position, self._rng)
            self._claim(position)
        elif self.archive.n_seen < self.space.size:
            start = int(self._rng.integers(min(int(self.space.size), 2**62)))
            found = self.archive.first_unseen(self.space, start)
            if found is not None:
                self._claim(found)
                return found
        return position

    # State

    def get_state(self) -> dict[str, Any]:
        """Everything, as JSON values: settings, space, generator, particles, results, moves in the air."""
        return {
            "version": STATE_VERSION,
            "space": self.space.to_json(),
            "settings": self.settings.to_json(),
            "screening": None if self._screening is None else self._screening.get_state(),
            "rng": self._rng.bit_generator.state,
            "sobol": self._sobol.get_state(),
            "particles": self._particles.get_state(),
            "improved": list(self._improved),
            "next_id": self._next_id,
            "flights": self._flights.get_state(),
            "queue": [position.tolist() for position in self._queue],
            "archive": self.archive.get_state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], space: Mapping[str, Any] | Space | None = None) -> ParticleSwarm:
        """The swarm that ``get_state`` described, with its moves still in the air; goes on as it would have.

        Args:
            state: From ``get_state``, also by way of JSON.
            space: The search space, needed where it holds values that JSON lacks (functions, classes).

        Raises:
            ValueError: If the state is of another version, or needs a space and has none or another one.
        """
        if state.get("version") != STATE_VERSION:
            raise ValueError(f"a swarm's state is of version {STATE_VERSION}; got {state.get('version')!r}")
        found = Space.from_json(state["space"]) if space is None else space
        swarm = cls.__new__(cls)
        swarm.space = found if isinstance(found, Space) else Space(found)
        if swarm.space.to_json() != state["space"]:
            raise ValueError("the search space is not the one that the state was made with")
        swarm.settings = Settings.from_json(state["settings"])
        screening = state["screening"]
        swarm._screening = None if screening is None else Screening.from_state(screening)
        swarm._rng = np.random.default_rng(0)
        swarm._start()
        swarm._set_state(state)
        return swarm

    def _set_state(self, state: Mapping[str, Any]) -> None:
        self._sobol.set_state(state["sobol"])
        self._particles.set_state(state["particles"])
        self._improved.extend(state["improved"])
        self._next_id = state["next_id"]
        self._flights.set_state(state["flights"])
        self._queue = [np.array(position) for position in state["queue"]]
        self.archive = Archive.from_state(self.space.n_dims, state["archive"])
        self._rng.bit_generator.state = state["rng"]
