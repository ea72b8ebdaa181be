"""Peers: optimisers of other packages to compare the swarm with, and random search, behind one ask and tell.

None of them knows fidelities: they take the last value of a stopped run as it is. They ignore results from elsewhere.
Their state is the record of their asks and tells, and restoring replays it from the seed.
"""

from __future__ import annotations

import contextlib
import logging.config
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from searchers.archive import Value
from searchers.parameters import Array, Categorical, Float, Integer, Ordinal, Parameter
from searchers.pending import Move
from searchers.space import Space

WORST = 1e19  # the value of a failed run, for peers that accept only finite numbers


class PeerOptimiser:
    """Base class of adapters to another package's optimiser.

    Args:
        space: The search space.
        seed: Seed of all random numbers.
        budget: Number of evaluations; None if unknown.

    Attributes:
        several_objectives: True if the optimiser takes ``n_objectives``, and then a list of values for each result.
    """

    several_objectives = False

    def __init__(self, space: Space, seed: int, budget: int | None) -> None:
        self.space = space

    def ask(self) -> tuple[Any, dict[str, Any]] | None:
        """Return the peer's own handle of a candidate, and its configuration; None while it waits for results."""
        raise NotImplementedError

    def tell(self, token: Any, value: Any) -> None:
        """Tell the value, to be minimised, of the candidate with handle ``token``; None for a failed run."""


MakePeer = Callable[[Space, int, int | None], PeerOptimiser]
"""Makes a peer from the search space, the seed and the budget."""


class RandomSearch(PeerOptimiser):
    """Independent uniform draws (J. Bergstra and Y. Bengio, JMLR 13, 2012)."""

    several_objectives = True

    def __init__(self, space: Space, seed: int, budget: int | None, n_objectives: int = 1) -> None:
        super().__init__(space, seed, budget)
        self._rng = np.random.default_rng(seed)

    def ask(self) -> tuple[Any, dict[str, Any]]:
        """Return no handle, and a configuration drawn uniformly from the space."""
        return None, self.space.decode(self.space.from_uniform(self._rng.random(self.space.n_parameters)))


class OptunaTPE(PeerOptimiser):
    """Optuna's tree-structured Parzen estimator, multivariate, with the constant liar for parallel runs.

    With several objectives it is that of Y. Ozaki et al., "Multiobjective tree-structured Parzen estimator for
    computationally expensive optimization problems", GECCO 2020.
    """

    several_objectives = True

    def __init__(self, space: Space, seed: int, budget: int | None, n_objectives: int = 1) -> None:
        super().__init__(space, seed, budget)
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._failed = optuna.trial.TrialState.FAIL
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                seed=seed, multivariate=True, group=bool(space.is_conditional), constant_liar=True
            )
        self._study = optuna.create_study(sampler=sampler, directions=["minimize"] * n_objectives)

    def ask(self) -> tuple[Any, dict[str, Any]]:
        """Return Optuna's trial and its configuration."""
        trial = self._study.ask()

        def pick(index: int, parameter: Parameter) -> Any:
            name = str(index)
            if isinstance(parameter, Categorical):
                return trial.suggest_categorical(name, list(range(len(parameter.choices))))
            if isinstance(parameter, Ordinal):
                return parameter.choices[trial.suggest_int(name, 0, len(parameter.choices) - 1)]
            if isinstance(parameter, (Float, Integer)):
                # Optuna has no logarithmic grid, but for integers with step 1.
                on_grid = parameter.step is not None and (isinstance(parameter, Float) or parameter.step != 1)
                if parameter.log and on_grid:
                    return parameter.decode(np.array([trial.suggest_float(name, 0.0, 1.0)]))
                suggest: Any = trial.suggest_float if isinstance(parameter, Float) else trial.suggest_int
                return suggest(name, parameter.lower, parameter.upper, log=parameter.log, step=parameter.step)
            raise ValueError(f"Optuna has no {type(parameter).__name__}")

        return trial, self.space.build(pick)

    def tell(self, token: Any, value: Any) -> None:
        """Report the value of a trial, or that it failed, to Optuna's study."""
        self._study.tell(token, value, state=self._failed if value is None else None)


class Nevergrad(PeerOptimiser):
    """Nevergrad's PSO, with parameters defined as Ray's NevergradSearch defines them.

    Subclasses get other optimisers of Nevergrad's registry by ``name``. Those that choose their algorithm by the budget
    (100 if unknown) and the number of workers, such as NGOpt, wait for ever with more workers than ``n_workers``.
    """

    name = "PSO"
    n_workers = 1

    def __init__(self, space: Space, seed: int, budget: int | None) -> None:
        super().__init__(space, seed, budget)
        import nevergrad
        from nevergrad.optimization import metamodel

        # Workaround: Nevergrad's surrogates convert arrays of one element to float, which NumPy 2.4 refuses.
        metamodel.float = lambda value: np.asarray(value).item()
        parts = {str(i): self._part(nevergrad.p, parameter) for i, parameter in enumerate(space.parameters)}
        parametrization = nevergrad.p.Dict(**parts)
        parametrization.random_state = np.random.RandomState(seed)
        self._optimizer = nevergrad.optimizers.registry[self.name](
            parametrization, budget=budget or 100, num_workers=self.n_workers
        )

    @staticmethod
    def _part(p: Any, parameter: Parameter) -> Any:
        if isinstance(parameter, Categorical):
            return p.Choice(list(range(len(parameter.choices))))
        if isinstance(parameter, Ordinal):
            return p.TransitionChoice(list(range(len(parameter.choices))))
        lower, upper = getattr(parameter, "lower", 0.0), getattr(parameter, "upper", 1.0)
        if lower == upper:
            return p.Constant(lower)
        log = getattr(parameter, "log", False)
        scalar = p.Log(lower=lower, upper=upper) if log else p.Scalar(lower=lower, upper=upper)
        return scalar.set_integer_casting() if isinstance(parameter, Integer) else scalar

    def ask(self) -> tuple[Any, dict[str, Any]]:
        """Return Nevergrad's candidate and its configuration."""
        candidate = self._optimizer.ask()

        def pick(index: int, parameter: Parameter) -> Any:
            value = candidate.value[str(index)]
            if isinstance(parameter, Categorical):
                return int(value)
            if isinstance(parameter, Ordinal):
                return parameter.choices[int(value)]
            step = getattr(parameter, "step", None)
            return parameter.decode(parameter.encode(_nearest(value, parameter, step)))

        return candidate, self.space.build(pick)

    def tell(self, token: Any, value: float | None) -> None:
        """Report the value of a candidate to Nevergrad; a failed run counts as ``WORST``."""
        self._optimizer.tell(token, WORST if value is None else value)


def _nearest(value: float, parameter: Any, step: float | None) -> float:
    """Return the nearest value within the bounds, and on the grid if there is one: Nevergrad has no grids."""
    inside = min(max(float(value), parameter.lower), parameter.upper)
    if step is None:
        return float(inside)
    index = min(round((inside - parameter.lower) / step), int(parameter.size) - 1)
    return float(parameter.lower + index * step)


class PySwarms(PeerOptimiser):
    """PySwarms' swarm over the unit cube, with the settings of its documentation, one generation at a time.

    The adapter calls PySwarms' backend: its optimisers call the objective themselves. The backend draws from NumPy's
    global generator, which is given a seeded state for each call.

    Args:
        space: The search space.
        seed: Seed of all random numbers.
        budget: Not used.
        n_particles: Number of particles.
        topology: ``star`` (global best), ``ring`` (the three nearest) or ``von-neumann`` (the nearest 2 d + 1 in d
            dimensions). PySwarms' topologies pyramid and random raise errors on NumPy 2.

    Raises:
        ValueError: If there is no such topology, or it needs more neighbours than there are particles.
    """

    TOPOLOGIES: Mapping[str, tuple[str, Mapping[str, int]]] = {
        "star": ("Star", {}), "ring": ("Ring", {"p": 2, "k": 3}), "von-neumann": ("VonNeumann", {"p": 2, "r": 1}),
    }  # fmt: skip
    options: Mapping[str, float] = {"c1": 0.5, "c2": 0.3, "w": 0.9}

    def __init__(
        self, space: Space, seed: int, budget: int | None, n_particles: int = 10, topology: str = "star"
    ) -> None:
        super().__init__(space, seed, budget)
        if topology not in self.TOPOLOGIES:
            raise ValueError(f"a topology of pyswarms must be one of {', '.join(self.TOPOLOGIES)}; got {topology!r}")
        name, self._neighbours = self.TOPOLOGIES[topology]
        if topology == "von-neumann" and 2 * space.n_dims + 1 > n_particles:
            raise ValueError(
                f"von-neumann needs 2 x {space.n_dims} + 1 neighbours in {space.n_dims} dimensions; got {n_particles}"
                " particles"
            )
        self._random = np.random.RandomState(seed).get_state()
        self._bounds = np.zeros(space.n_dims), np.ones(space.n_dims)
        with self._own_random_state():
            import pyswarms.backend
            from pyswarms.backend.handlers import BoundaryHandler, VelocityHandler

            self._compute_pbest = pyswarms.backend.compute_pbest
            self._topology = getattr(pyswarms.backend.topology, name)()
            self._walls, self._clamp = BoundaryHandler("periodic"), VelocityHandler("unmodified")
            options, bounds = dict(self.options), self._bounds
            self._swarm = pyswarms.backend.create_swarm(n_particles, space.n_dims, options=options, bounds=bounds)
        self._swarm.pbest_cost = np.full(n_particles, np.inf)
        self._costs = np.full(n_particles, np.nan)
        self._asked = 0

    @contextlib.contextmanager
    def _own_random_state(self) -> Iterator[None]:
        """Give NumPy's global generator this peer's state for a block, and keep PySwarms from opening a report.log."""
        outer, configure = np.random.get_state(), logging.config.dictConfig  # noqa: NPY002
        np.random.set_state(self._random)  # noqa: NPY002
        logging.config.dictConfig = lambda config: None
        try:
            yield
        finally:
            self._random = np.random.get_state()  # noqa: NPY002
            np.random.set_state(outer)  # noqa: NPY002
            logging.config.dictConfig = configure

    def ask(self) -> tuple[Any, dict[str, Any]] | None:
        """Return a particle's number and configuration; None while results of its generation are missing."""
        if self._asked == len(self._costs):
            if np.isnan(self._costs).any():
                return None
            self._advance()
        self._asked += 1
        return self._asked - 1, self.space.decode(np.clip(self._swarm.position[self._asked - 1], 0.0, 1.0))

    def tell(self, token: Any, value: float | None) -> None:
        """Record the value of a particle; a failed run counts as ``WORST``."""
        self._costs[token] = WORST if value is None else value

    def _advance(self) -> None:
        swarm, bounds = self._swarm, self._bounds
        with self._own_random_state():
            swarm.current_cost = self._costs.copy()
            swarm.pbest_pos, swarm.pbest_cost = self._compute_pbest(swarm)
            swarm.best_pos, swarm.best_cost = self._topology.compute_gbest(swarm, **self._neighbours)
            swarm.velocity = self._topology.compute_velocity(swarm, None, self._clamp, bounds)
            swarm.position = self._topology.compute_position(swarm, bounds, self._walls)
        self._costs[:] = np.nan
        self._asked = 0


class ReplayedPeer:
    """An `Optimiser` over a peer. Its state is the record of all calls, which restoring replays.

    Args:
        make: Makes the peer.
        space: The search space.
        seed: Seed of the peer.
        budget: Number of evaluations; None if unknown.
    """

    def __init__(self, make: MakePeer, space: Space, seed: int, budget: int | None) -> None:
        self.space, self._make = space, make
        self._seed, self._budget = seed, budget
        self.full_fidelity = math.inf  # part of the protocol; peers know no fidelity
        self._peer = make(space, seed, budget)
        self._tokens: dict[int, Any] = {}
        self._configs: dict[int, dict[str, Any]] = {}  # of moves without a result
        self._queue: list[Array] = []
        self._record: list[list[Any]] = []
        self._n_asked = 0

    def enqueue(self, point: Mapping[str, Any]) -> None:
        """Suggest ``point`` next; parameters that it lacks have the middle of their range.

        Raises:
            ValueError: If ``point`` is outside the space.
        """
        middle = self.space.from_uniform(np.full(self.space.n_parameters, 0.5))
        self._queue.append(self.space.encode(point, fill=middle))
        self._record.append(["enqueue", self._queue[-1].tolist()])

    def ask(self) -> Move | None:
        """Return the next enqueued point or candidate of the peer; None while the peer waits for results."""
        if self._queue:
            token, config = _ENQUEUED, self.space.decode(self._queue.pop(0))
        else:
            candidate = self._peer.ask()
            if candidate is None:
                return None
            token, config = candidate
        self._record.append(["ask"])
        self._tokens[self._n_asked] = token
        self._configs[self._n_asked] = config
        self._n_asked += 1
        return Move(self._n_asked - 1, config)

    def report(self, move_id: int, value: Value, fidelity: float) -> None:
        """Ignore a report: peers learn from ended runs only."""

    def tell(self, move_id: int, value: Value, fidelity: float | None = None) -> None:
        """Tell the peer the value of a move, None for a failure; a second value is ignored."""
        token = self._tokens.pop(move_id, _ENQUEUED)
        self._configs.pop(move_id, None)
        self._record.append(["tell", move_id, value])
        if token is not _ENQUEUED:
            self._peer.tell(token, value)

    def config_of(self, move_id: int) -> dict[str, Any] | None:
        """Return the configuration of a move; None once it has a result."""
        return self._configs.get(move_id)

    def add_evaluated(self, config: Mapping[str, Any], value: Value, fidelity: float | None = None) -> None:
        """Check a result from elsewhere, as every searcher does, and ignore it.

        Raises:
            ValueError: If ``config`` is outside the space or lacks a parameter.
        """
        self.space.encode(config, strict=False)

    def exhausted(self) -> bool:
        """Return False: peers may repeat configurations."""
        return False

    def get_state(self) -> dict[str, Any]:
        """Return the record and all that ``replay`` needs, as JSON values."""
        return {"space": self.space.to_json(), "seed": self._seed, "budget": self._budget, "record": list(self._record)}

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle by replay: some peers can't be pickled, others compare candidates by identity."""
        return _replayed, (self._make, self.space, self._seed, self._budget, list(self._record))

    def replay(self, record: Sequence[Sequence[Any]]) -> None:
        """Repeat the calls of a record."""
        for name, *arguments in record:
            if name == "enqueue":
                self._queue.append(np.array(arguments[0]))
                self._record.append([name, *arguments])
            elif name == "ask":
                self.ask()
            else:
                self.tell(*arguments)


def _replayed(make: MakePeer, space: Space, seed: int, budget: int | None, record: list[Any]) -> ReplayedPeer:
    optimiser = ReplayedPeer(make, space, seed, budget)
    optimiser.replay(record)
    return optimiser


_ENQUEUED = object()  # token of a configuration from ``points_to_evaluate``, of which the peer doesn't know


PEER_OPTIMISERS: dict[str, type[PeerOptimiser]] = {
    "random": RandomSearch,
    "optuna-tpe": OptunaTPE,
    "nevergrad-pso": Nevergrad,
    "pyswarms": PySwarms,
}
