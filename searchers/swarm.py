"""An asynchronous particle swarm that knows fidelities: ask for configurations, tell their values, in any order.

A particle moves as soon as its own result is told, with the best that its informants have by then. This is
asynchronous PSO: B.-I. Koh et al., "Parallel asynchronous particle swarm optimization", Int. J. Numer. Meth. Engng 67,
2006; G. Venter and J. Sobieszczanski-Sobieski, "A parallel particle swarm optimization algorithm accelerated by
asynchronous evaluations", JACIC 3, 2006. `searchers.dynamics` has the motion, `searchers.screening` the choice among
candidate moves.

What this implementation adds:

* **More workers than particles.** The particle with the fewest pending moves makes another one, from its position, with
  new random numbers. So a swarm keeps its few informed particles however many workers there are; a larger swarm would
  spend the budget on first, random points. A particle without a personal best makes Sobol points, so that 64 workers
  start at 64 evenly spread points.
* **Fidelity.** A result at a higher fidelity ranks before any at a lower one; equal fidelities compare values. So a
  configuration that looked good after one epoch never replaces one that was trained to the end, but a particle whose
  runs are all stopped early still follows the best of them. This is the rule of Optuna's TPE sampler. (DEHB has one
  population per fidelity, which needs a budget schedule of its own; here that is the trial scheduler's business.)
  Screening learns from the values at one fidelity at a time (`searchers.archive.Archive.comparable`), and takes those
  of stopped runs from what they reported.
* **Failures** (None, NaN or infinite values) count as the worst value and change no personal best; the particle moves
  on.
* **Lost moves.** A move that is silent for long is given up, and its particle moves on (`searchers.pending`).
* **No repeats.** No configuration is suggested twice while unseen ones remain; running ones count as seen. Once all
  of a finite space were suggested, the swarm moves on among them, which serves a noisy objective.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from searchers.archive import Archive, Value, check_deviation, checked_fidelity
from searchers.dynamics import BoundsName, InertiaName, Settings, TopologyName
from searchers.moves import Moves
from searchers.parameters import Array
from searchers.particles import Particles
from searchers.pending import Move, PendingMove, PendingMoves
from searchers.screening import Screen, Screening
from searchers.sobol import Sobol
from searchers.space import Space

STATE_VERSION = 4


class ParticleSwarm:
    """Particle swarm optimisation by ask and tell. It minimises.

    Several moves can be pending at once, and their values can be told in any order:

    >>> from searchers import Float, Integer, ParticleSwarm
    >>> swarm = ParticleSwarm({"rate": Float(1e-5, 1e-1, log=True), "layers": Integer(1, 6)}, n_particles=5, seed=0)
    >>> for _ in range(40):
    ...     move = swarm.ask()
    ...     loss = abs(move.config["rate"] - 1e-3) + 0.1 * move.config["layers"]
    ...     swarm.tell(move.id, loss)
    >>> config, loss = swarm.best
    >>> config["layers"]
    1
    >>> loss < 0.11
    True

    The state is JSON, and a restored swarm continues as the first one would have:

    >>> import json
    >>> restored = ParticleSwarm.from_state(json.loads(json.dumps(swarm.get_state())))
    >>> restored.ask() == swarm.ask()
    True

    Args:
        space: A `Space`, or a dict of `Float`, `Integer`, `Ordinal`, `Categorical`, constants, dicts and lists of them.
        n_particles: Number of particles, each with a position, a velocity and a personal best.
        topology: The informants of a particle: ``global``, ``ring``, ``von-neumann`` or ``random``.
        seed: Seed of all random numbers: the same seed and results lead to the same moves. None takes fresh entropy.
        inertia: Rule of the inertia weight w. ``linear`` falls from 0.7 to 0.3 over ``budget`` (Shi and Eberhart 1998;
            their 0.9 to 0.4 suits thousands of evaluations, and wanders for the first hundred). ``constant`` is 0.729.
            ``constriction`` is that of Clerc and Kennedy (2002), with coefficients of 2.05 unless given. ``adaptive``
            rises from 0.4 to 0.9 with the share of the last ``n_particles`` results that improved a personal best
            (A. Nickabadi et al., Applied Soft Computing 11, 2011).
        cognitive: Coefficient c1 of the personal best; 1.494 if not given (R. Eberhart and Y. Shi, CEC 2000).
        social: Coefficient c2 of the neighbourhood's best; 1.494 if not given.
        velocity_limit: Largest velocity in a coordinate, in widths of the range (Vmax of Kennedy and Eberhart 1995;
            Eberhart and Shi, CEC 2000, use it with inertia and constriction, too). Infinite for no limit.
        bounds: Handling of bounds: ``reflect``, ``absorb``, ``random`` or ``periodic``; see
            `searchers.dynamics.confine`.
        budget: Number of evaluations over which ``linear`` inertia falls.
        noisy: True if a second evaluation of a configuration gives another value, as of a training with another seed.
            Moves are then screened by a surrogate that expects noise, and follow its best instead of the luckiest
            result (`searchers.noise`). Ask `recommend`, not `best`, for what to use.
        screening: True to make the most promising of many candidate moves (`searchers.screening`), with the settings
            of a `Screen` if one is given. False is plain PSO.
        generational: Wait until every particle has its result before any moves again; for comparisons.
        points_to_evaluate: Configurations to suggest first. Parameters that one lacks are taken from a Sobol point.

    Raises:
        ValueError: If a setting is outside its range, or a point outside the space.
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
        noisy: bool = False,
        screening: bool | Screen = True,
        generational: bool = False,
        points_to_evaluate: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        self.space = space if isinstance(space, Space) else Space(space)
        self.settings = Settings.of(
            n_particles, topology, inertia, cognitive, social, velocity_limit, bounds, budget, generational
        )
        screen = (Screen() if screening else None) if isinstance(screening, bool) else screening
        self.noisy = noisy
        self._screening = None if screen is None else Screening(screen, noisy)
        self._rng = np.random.default_rng(seed)
        self._start()
        for point in points_to_evaluate:
            self.enqueue(point)
        if noisy:  # the prior's best guess
            self._moves.queue.append(self.space.from_uniform(np.full(self.space.n_parameters, 0.5)))

    def _start(self, archive: Archive | None = None) -> None:
        settings = self.settings
        sobol = Sobol(self.space.n_parameters, self._rng)
        self._particles = Particles(settings.n_particles, self.space.n_dims, settings.topology, self._rng)
        # For each of the latest results, True if it improved a personal best.
        self._improved: deque[bool] = deque(maxlen=settings.n_particles)
        self._pending = PendingMoves(settings.n_particles)
        self._next_id = 0
        self.archive = Archive(self.space.n_dims) if archive is None else archive
        self._moves = Moves(
            self.space, settings, self._particles, self.archive, self._pending, self._screening, self.noisy, sobol,
            self._rng,
        )  # fmt: skip

    # Ask and tell

    def enqueue(self, point: Mapping[str, Any]) -> None:
        """Suggest ``point`` next, after points enqueued before; parameters that it lacks are taken from a Sobol point.

        Raises:
            ValueError: If a value is outside the space, or a name unknown.
        """
        self._moves.queue.append(self.space.encode(point, fill=self._moves.sobol_position()))

    def ask(self) -> Move | None:
        """Return the next move to evaluate; None, in generational mode only, while the generation is pending."""
        self._pending.give_up_silent(len(self.archive))
        particle = self._particles.next_to_move(self._pending.n_pending, self.settings.generational)
        if particle is None:
            return None
        self._aim(particle)
        position, velocity = self._moves.next(particle, self._inertia_progress())
        move = Move(self._next_id, self.space.decode(position))
        self._next_id += 1
        self._pending.add(move.id, PendingMove(particle, position, velocity), len(self.archive))
        self._particles.n_moves[particle] += 1
        return move

    def report(self, move_id: int, value: Value, fidelity: float) -> None:
        """Report the value of a pending move at a fidelity on its way.

        Reports let runs that end at different fidelities be compared. Those of moves that aren't pending are ignored.

        Args:
            move_id: ``Move.id``.
            value: Value to minimise; None, NaN and infinities are ignored.
            fidelity: Fidelity of the value, >= 0.

        Raises:
            ValueError: If the fidelity is negative or NaN.
        """
        reached = checked_fidelity(fidelity)
        if move_id not in self._pending:
            return
        move = self._pending[move_id]
        self._pending.add(move_id, move, len(self.archive))
        found = self._finite(value)
        if found is not None:
            move.curve[reached] = found

    def tell(self, move_id: int, value: Value, fidelity: float | None = None, deviation: float | None = None) -> None:
        """Record the result of a move. A second result of the same move is ignored.

        Args:
            move_id: ``Move.id``.
            value: Value to minimise; None, NaN and infinities mean that the run failed.
            fidelity: Fidelity that the run reached (a rung, an epoch), >= 0; None for a full run, which outranks any
                number below ``full_fidelity``.
            deviation: Standard deviation of the value's noise, if known: of a mean of n values, theirs divided by
                sqrt(n). None counts as the median of those known.

        Raises:
            KeyError: If no such move was asked for.
            ValueError: If the fidelity or the deviation is negative or NaN.
        """
        if not 0 <= move_id < self._next_id:
            raise KeyError(f"no move {move_id!r} was asked for")
        reached = checked_fidelity(fidelity)
        check_deviation(deviation)
        move = self._pending.pop(move_id)
        if move is None:
            return
        particles = self._particles
        particles.position[move.particle] = move.position
        particles.velocity[move.particle] = move.velocity
        self._improved.append(self._learn(move.particle, move.position, value, reached, move.curve, deviation))
        particles.landed[move.particle] = len(self.archive)

    def give_up(self, move_id: int) -> None:
        """Stop waiting for a lost move, so that its particle moves on. A later report or result counts all the same."""
        self._pending.give_up(move_id)

    def add_evaluated(
        self,
        config: Mapping[str, Any],
        value: Value,
        fidelity: float | None = None,
        deviation: float | None = None,
    ) -> None:
        """Learn from a run made elsewhere. It replaces the worst personal best, if it is better.

        Another evaluation of a configuration that was evaluated before may be added too.

        Args:
            config: Configuration of the run. Names that are not in the space are ignored.
            value: Value to minimise; None, NaN and infinities mean that the run failed.
            fidelity: Fidelity that the run reached; None for a full run.
            deviation: Standard deviation of the value's noise, if known.

        Raises:
            ValueError: If ``config`` is outside the space or lacks a parameter, or the fidelity or the deviation is
                negative or NaN.
        """
        reached = checked_fidelity(fidelity)
        check_deviation(deviation)
        position = self.space.encode(config, strict=False)
        self._moves.claim(position)
        particle = self._heir()
        if self._learn(particle, position, value, reached, deviation=deviation):
            self._particles.position[particle] = position

    @property
    def best(self) -> tuple[dict[str, Any], float] | None:
        """The best configuration at the highest fidelity reached, and its value; None before any success."""
        leader = self._particles.leader
        if leader is None:
            return None
        return self.space.decode(self._particles.best_position[leader]), float(self._particles.best_value[leader])

    def recommend(self) -> tuple[dict[str, Any], float] | None:
        """Return the evaluated configuration with the lowest posterior mean, and that mean; None before any success.

        Where values are noisy, `best` is the luckiest; this is the one to use. A Gaussian process learns the noise from
        the results at one fidelity, as screening does.
        """
        results = self._moves.results()
        if not np.isfinite(results.values).any():
            return None
        screening = self._screening or Screening(Screen(), noisy=True)
        chosen, mean = screening.recommend(results)
        return self.space.decode(results.positions[chosen]), mean

    @property
    def full_fidelity(self) -> float:
        """Fidelity of a full run, infinite unless set. Results at it and above count as equal in fidelity."""
        return self._particles.full

    @full_fidelity.setter
    def full_fidelity(self, fidelity: float) -> None:
        """Set the fidelity of a full run."""
        self._particles.set_full(fidelity)

    def exhausted(self) -> bool:
        """Return True if every configuration of a finite space has been suggested or added."""
        return self.archive.n_seen >= self.space.size

    @property
    def pending(self) -> list[int]:
        """Ids of the moves that were asked for and have no result yet."""
        return self._pending.ids

    def config_of(self, move_id: int) -> dict[str, Any] | None:
        """Return the configuration of a move; None once it has a result."""
        return self.space.decode(self._pending[move_id].position) if move_id in self._pending else None

    def particle_of(self, move_id: int) -> dict[str, Any]:
        """Describe the particle of a pending move.

        Returns:
            ``particle``: index; ``position``: position of the move in the unit cube, a list of n_dims numbers;
            ``velocity_norm``: in cube widths per move; ``personal_best``: value, None before the first.

        Raises:
            KeyError: If the move is not pending.
        """
        if move_id not in self._pending:
            raise KeyError(f"move {move_id!r} is not pending")
        move = self._pending[move_id]
        return {
            "particle": move.particle,
            "position": move.position.tolist(),
            "velocity_norm": float(np.linalg.norm(move.velocity)),
            "personal_best": self.personal_best(move.particle),
        }

    def personal_best(self, particle: int) -> float | None:
        """Return the value of a particle's personal best; None before the first."""
        best = float(self._particles.best_value[particle])
        return best if math.isfinite(best) else None

    def _inertia_progress(self) -> float:
        """Return how far inertia is on its way from start to end, 0 to 1."""
        if self.settings.inertia == "adaptive":
            # The success rate of Nickabadi et al. (2011)
            return sum(self._improved) / max(len(self._improved), 1)
        return min(len(self.archive) / self.settings.budget, 1.0)

    def _learn(
        self,
        particle: int,
        position: Array,
        value: Value,
        fidelity: float,
        curve: Mapping[float, Any] | None = None,
        deviation: float | None = None,
    ) -> bool:
        """Add a result to the archive; return True if it is the particle's new personal best."""
        found = self._finite(value)
        number = math.inf if found is None else found
        self.archive.add(self._snap(position), number, fidelity, dict(curve or {}), deviation)
        return self._particles.learn(particle, position, number, fidelity, self._rng)

    def _aim(self, particle: int) -> None:
        """Prepare for a particle's next move; a swarm with several objectives chooses the trade-off here."""

    def _heir(self) -> int:
        """Return the particle that gets the result of a run made elsewhere."""
        return self._particles.worst()

    def _finite(self, value: Any) -> Any:
        """Return a value to learn from; None for one that is not finite."""
        return float(value) if value is not None and math.isfinite(value) else None

    def _snap(self, position: Array) -> Array:
        snapped: Array = self.space.snap(position[None, :])[0]
        return snapped

    # State

    def get_state(self) -> dict[str, Any]:
        """Return the whole state as JSON values."""
        return {
            "version": STATE_VERSION,
            "space": self.space.to_json(),
            "settings": self.settings.to_json(),
            "noisy": self.noisy,
            "screening": None if self._screening is None else self._screening.get_state(),
            "rng": self._rng.bit_generator.state,
            "sobol": self._moves.sobol.get_state(),
            "particles": self._particles.get_state(),
            "improved": list(self._improved),
            "next_id": self._next_id,
            "flights": self._pending.get_state(),
            "queue": [position.tolist() for position in self._moves.queue],
            "archive": self.archive.get_state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], space: Mapping[str, Any] | Space | None = None) -> ParticleSwarm:
        """Restore a swarm, its pending moves included. It continues as the original would have.

        Args:
            state: Result of ``get_state``, which may have been through JSON.
            space: The search space; needed if it has values that JSON can't hold, such as functions.

        Raises:
            ValueError: If the state is of another version, or a space is needed and missing, or another one is given.
        """
        if state.get("version") != STATE_VERSION:
            raise ValueError(f"version of a swarm's state must be {STATE_VERSION}; got {state.get('version')!r}")
        tree = Space.from_json(state["space"]) if space is None else space
        swarm = cls.__new__(cls)
        swarm.space = tree if isinstance(tree, Space) else Space(tree)
        if swarm.space.to_json() != state["space"]:
            raise ValueError("the search space is not the one that the state was made with")
        if len(state["particles"]["position"][0]) != swarm.space.n_dims:  # of an earlier version, with many choices
            swarm.space = swarm.space.with_one_hot()
        swarm.settings = Settings.from_json(state["settings"])
        screening = state["screening"]
        swarm.noisy = state.get("noisy", False)  # states of version 4 may lack it
        swarm._screening = None if screening is None else Screening.from_state(screening, swarm.noisy)
        swarm._rng = np.random.default_rng(0)
        swarm._start(Archive.from_state(swarm.space.n_dims, state["archive"]))
        swarm._set_state(state)
        return swarm

    def _set_state(self, state: Mapping[str, Any]) -> None:
        self._moves.sobol.set_state(state["sobol"])
        self._particles.set_state(state["particles"])
        self._improved.extend(state["improved"])
        self._next_id = state["next_id"]
        self._pending.set_state(state["flights"])
        self._moves.queue = [np.array(position) for position in state["queue"]]
        self._rng.bit_generator.state = state["rng"]
