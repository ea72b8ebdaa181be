"""Peers of the swarm behind one ask and tell: Optuna, Nevergrad, PySwarms, random search. No Ray.

None of them has a notion of fidelity: they take a stopped run's last value as it is. Results from elsewhere are left
aside. Their state is what they were asked and told; restoring replays it from the seed.
"""

from __future__ import annotations

import contextlib
import logging.config
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from searchers.parameters import Array, Categorical, Float, Integer, Ordinal, Parameter
from searchers.space import Space
from searchers.swarm import Move

WORST = 1e19  # what a failed run is told as, where the peer takes finite numbers alone


class Engine:
    """A peer's own ask and tell. ``ask`` gives its token of a candidate, and the configuration; None to wait."""

    def __init__(self, space: Space, seed: int, budget: int | None) -> None:
        self.space = space

    def ask(self) -> tuple[Any, dict[str, Any]] | None:
        raise NotImplementedError

    def tell(self, token: Any, value: float | None) -> None:
        """``value`` is to be minimised; None for a failed run."""


class RandomSearch(Engine):
    """Independent uniform draws (J. Bergstra and Y. Bengio, JMLR 13, 2012)."""

    def __init__(self, space: Space, seed: int, budget: int | None) -> None:
        super().__init__(space, seed, budget)
        self._rng = np.random.default_rng(seed)

    def ask(self) -> tuple[Any, dict[str, Any]]:
        return None, self.space.decode(self.space.spread(self._rng.random(self.space.n_parameters)))


class OptunaTPE(Engine):
    """Optuna's tree-structured Parzen estimator, multivariate, with the constant liar for parallel runs."""

    def __init__(self, space: Space, seed: int, budget: int | None) -> None:
        super().__init__(space, seed, budget)
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._failed = optuna.trial.TrialState.FAIL
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                seed=seed, multivariate=True, group=bool(space.is_conditional), constant_liar=True
            )
        self._study = optuna.create_study(sampler=sampler)

    def ask(self) -> tuple[Any, dict[str, Any]]:
        trial = self._study.ask()

        def pick(number: int, parameter: Parameter) -> Any:
            name = str(number)
            if isinstance(parameter, Categorical):
                return trial.suggest_categorical(name, list(range(len(parameter.choices))))
            if isinstance(parameter, Ordinal):
                return parameter.choices[trial.suggest_int(name, 0, len(parameter.choices) - 1)]
            if isinstance(parameter, (Float, Integer)):
                if parameter.log and parameter.step not in (None, 1):  # Optuna has no logarithmic grid
                    return parameter.decode(np.array([trial.suggest_float(name, 0.0, 1.0)]))
                suggest: Any = trial.suggest_float if isinstance(parameter, Float) else trial.suggest_int
                return suggest(name, parameter.lower, parameter.upper, log=parameter.log, step=parameter.step)
            raise ValueError(f"Optuna has no {type(parameter).__name__}")

        return trial, self.space.build(pick)

    def tell(self, token: Any, value: float | None) -> None:
        self._study.tell(token, value, state=self._failed if value is None else None)


class Nevergrad(Engine):
    """Nevergrad's PSO, its parameters made as Ray's NevergradSearch makes them.

    Other optimisers of its registry by ``name``; those that choose their algorithm by the budget (100 if not known) and
    the workers, as NGOpt does, wait for ever if there are more workers than ``n_workers``.
    """

    name = "PSO"
    n_workers = 1

    def __init__(self, space: Space, seed: int, budget: int | None) -> None:
        super().__init__(space, seed, budget)
        import nevergrad
        from nevergrad.optimization import metamodel

        # Its surrogates make a float of an array of one, which NumPy 2.4 refuses.
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
        candidate = self._optimizer.ask()

        def pick(number: int, parameter: Parameter) -> Any:
            value = candidate.value[str(number)]
            if isinstance(parameter, Categorical):
                return int(value)
            if isinstance(parameter, Ordinal):
                return parameter.choices[int(value)]
            step = getattr(parameter, "step", None)
            return parameter.decode(parameter.encode(_nearest(value, parameter, step)))

        return candidate, self.space.build(pick)

    def tell(self, token: Any, value: float | None) -> None:
        self._optimizer.tell(token, WORST if value is None else value)


def _nearest(value: float, parameter: Any, step: float | None) -> float:
    """``value`` inside the bounds, and on the grid if there is one, which Nevergrad drops."""
    inside = min(max(float(value), parameter.lower), parameter.upper)
    if step is None:
        return float(inside)
    index = min(round((inside - parameter.lower) / step), int(parameter.size) - 1)
    return float(parameter.lower + index * step)


class PySwarms(Engine):
    """PySwarms' swarm over the unit cube, with the settings of its documentation, one generation at a time.

    Its backend is driven rather than its optimisers, which call the objective themselves. It draws from NumPy's global
    generator, which is lent a seeded state for each call.

    Args:
        topology: One of ``TOPOLOGIES``: ``star`` (global best), ``ring`` (the three nearest), ``von-neumann`` (the
            nearest 2 d + 1 in d dimensions). PySwarms' pyramid and random raise on NumPy 2.

    Raises:
        ValueError: If the topology is another, or wants more neighbours than there are particles.
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
            raise ValueError(f"a topology of pyswarms is one of {', '.join(self.TOPOLOGIES)}; got {topology!r}")
        name, self._neighbours = self.TOPOLOGIES[topology]
        if topology == "von-neumann" and 2 * space.n_dims + 1 > n_particles:
            raise ValueError(
                f"von-neumann wants 2 x {space.n_dims} + 1 neighbours in {space.n_dims} dimensions; got {n_particles}"
                " particles"
            )
        self._random = np.random.RandomState(seed).get_state()
        self._bounds = np.zeros(space.n_dims), np.ones(space.n_dims)
        with self._lent():
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
    def _lent(self) -> Iterator[None]:
        """NumPy's global generator with this engine's state; and no report.log, which PySwarms would open."""
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
        if self._asked == len(self._costs):
            if np.isnan(self._costs).any():
                return None
            self._advance()
        self._asked += 1
        return self._asked - 1, self.space.decode(np.clip(self._swarm.position[self._asked - 1], 0.0, 1.0))

    def tell(self, token: Any, value: float | None) -> None:
        self._costs[token] = WORST if value is None else value

    def _advance(self) -> None:
        swarm, bounds = self._swarm, self._bounds
        with self._lent():
            swarm.current_cost = self._costs.copy()
            swarm.pbest_pos, swarm.pbest_cost = self._compute_pbest(swarm)
            swarm.best_pos, swarm.best_cost = self._topology.compute_gbest(swarm, **self._neighbours)
            swarm.velocity = self._topology.compute_velocity(swarm, None, self._clamp, bounds)
            swarm.position = self._topology.compute_position(swarm, bounds, self._walls)
        self._costs[:] = np.nan
        self._asked = 0


class Replayed:
    """An `Optimiser` over an engine, whose state is the record of what was asked and told."""

    def __init__(self, make: Callable[[Space, int, int | None], Engine], space: Space, seed: int, budget: int | None):
        self.space, self._make, self._seed, self._budget = space, make, seed, budget
        self.full_fidelity = math.inf  # not used: these peers know of no fidelity
        self._engine = make(space, seed, budget)
        self._tokens: dict[int, Any] = {}
        self._queue: list[Array] = []
        self._record: list[list[Any]] = []
        self._n_asked = 0

    def enqueue(self, point: Mapping[str, Any]) -> None:
        """Raises ValueError for a point outside the space. What a partial one lacks is its middle."""
        middle = self.space.spread(np.full(self.space.n_parameters, 0.5))
        self._queue.append(self.space.encode(point, fill=middle))
        self._record.append(["enqueue", self._queue[-1].tolist()])

    def ask(self) -> Move | None:
        token, config = _QUEUED, {}
        if self._queue:
            config = self.space.decode(self._queue.pop(0))
        else:
            asked = self._engine.ask()
            if asked is None:
                return None
            token, config = asked
        self._record.append(["ask"])
        self._tokens[self._n_asked] = token
        self._n_asked += 1
        return Move(self._n_asked - 1, config)

    def report(self, move_id: int, value: float | None, fidelity: float) -> None:
        """Left aside: these peers wait for the end of a run."""

    def tell(self, move_id: int, value: float | None, fidelity: float | None = None) -> None:
        """A move that was given up has been told already."""
        token = self._tokens.pop(move_id, _QUEUED)
        self._record.append(["tell", move_id, value])
        if token is not _QUEUED:
            self._engine.tell(token, value)

    def give_up(self, move_id: int) -> None:
        """Told as a failure: that is the only way in which these peers let go of a run."""
        self.tell(move_id, None)

    def add_evaluated(self, config: Mapping[str, Any], value: float | None, fidelity: float | None = None) -> None:
        """Checked against the space, as every searcher does, and left aside.

        Raises:
            ValueError: If ``config`` is outside the space or lacks a parameter.
        """
        self.space.encode(config, strict=False)

    def exhausted(self) -> bool:
        return False

    def get_state(self) -> dict[str, Any]:
        return {"space": self.space.to_json(), "seed": self._seed, "budget": self._budget, "record": list(self._record)}

    def __reduce__(self) -> tuple[Any, ...]:
        """Copied and pickled as it is saved: peers hold what can't be pickled, or compare candidates by identity."""
        return _replayed, (self._make, self.space, self._seed, self._budget, list(self._record))

    def replay(self, record: Sequence[Sequence[Any]]) -> None:
        for name, *arguments in record:
            if name == "enqueue":
                self._queue.append(np.array(arguments[0]))
                self._record.append([name, *arguments])
            elif name == "ask":
                self.ask()
            else:
                self.tell(*arguments)


def _replayed(
    make: Callable[[Space, int, int | None], Engine], space: Space, seed: int, budget: int | None, record: list[Any]
) -> Replayed:
    optimiser = Replayed(make, space, seed, budget)
    optimiser.replay(record)
    return optimiser


_QUEUED = object()  # token of a configuration that came from ``points_to_evaluate``, not from the engine


ENGINES: dict[str, Callable[..., Engine]] = {
    "random": RandomSearch,
    "optuna-tpe": OptunaTPE,
    "nevergrad-pso": Nevergrad,
    "pyswarms": PySwarms,
}
