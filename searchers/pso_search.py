"""Particle swarm searcher for Ray Tune."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from searchers.ask_tell_search import AskTellSearch
from searchers.pareto_swarm import ParetoSwarm
from searchers.resuming import check_same
from searchers.space import Space
from searchers.swarm import ParticleSwarm


class ParticleSwarmSearch(AskTellSearch):
    """Ray Tune searcher whose trials are the moves of a `searchers.ParticleSwarm`.

    It works with any Tune scheduler. A trial that was stopped early ranks below every trial that ran longer; trials of
    one length are compared by their values. `searchers.ask_tell_search` documents how events of Tune are interpreted.

    >>> from ray import tune
    >>> from searchers.pso_search import ParticleSwarmSearch
    >>> def objective(config):
    ...     tune.report({"loss": abs(config["rate"] - 1e-3) + 0.1 * config["layers"]})
    >>> tuner = tune.Tuner(
    ...     objective,
    ...     param_space={"rate": tune.loguniform(1e-5, 1e-1), "layers": tune.randint(1, 7)},
    ...     tune_config=tune.TuneConfig(
    ...         metric="loss",
    ...         mode="min",
    ...         num_samples=100,
    ...         max_concurrent_trials=8,
    ...         search_alg=ParticleSwarmSearch(n_particles=10, seed=0),
    ...     ),
    ... )

    ``tuner.fit()`` runs the search. Tune makes these calls for each trial:

    >>> space = {"rate": tune.loguniform(1e-5, 1e-1), "layers": tune.randint(1, 7)}
    >>> search = ParticleSwarmSearch(space, metric="loss", mode="min", seed=0)
    >>> config = search.suggest("trial-1")
    >>> search.on_trial_complete("trial-1", {"loss": 0.5, "training_iteration": 1})
    >>> search.particle_of("trial-1")["personal_best"]
    0.5

    Args:
        space: Tune domains or this package's parameters; if not given, Tune passes its ``param_space``.
        metric: Name of the result to optimise; if not given, Tune passes its own.
        mode: ``min`` or ``max``.
        points_to_evaluate: Configurations to run first, nested or flat (``"a/b"``), complete or in part.
        evaluated_rewards: Known results of ``points_to_evaluate``, which are then not run.
        n_particles: Number of particles. There may be more concurrent trials than particles.
        topology: ``global``, ``ring``, ``von-neumann`` or ``random``.
        seed: Seed of all random numbers: the same seed and results lead to the same suggestions.
        budget: Number of trials over which the swarm's inertia falls; Tune's ``num_samples`` if not given.
        time_attr: Name of the result that counts a trial's progress. It should have few distinct values, like
            ``training_iteration``: only trials at the same one are compared by value. None treats all as full runs.
        max_t: ``time_attr`` of a full run; if not given, that of Tune's ``stop`` criterion, or else the largest seen.
        repeats: Suggest configurations again once all of a finite space were tried, as a noisy objective needs.
        further_objectives: Names of further results to optimise at the same time, each with its mode: a
            `searchers.ParetoSwarm` then makes the moves. Tune's scheduler compares trials by ``metric`` only.
        **swarm: Further arguments of `searchers.ParticleSwarm`, such as ``inertia``, ``screening`` or ``bounds``.

    Raises:
        ValueError: If the metric or mode is a list, or the settings or the space are invalid.
    """

    def __init__(
        self,
        space: Mapping[str, Any] | Space | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        evaluated_rewards: Sequence[float] | None = None,
        *,
        n_particles: int = 10,
        topology: str = "global",
        seed: int | None = None,
        budget: int | None = None,
        time_attr: str | None = "training_iteration",
        max_t: float | None = None,
        repeats: bool = False,
        further_objectives: Mapping[str, str] | None = None,
        **swarm: Any,
    ) -> None:
        self._settings: dict[str, Any] = {"n_particles": n_particles, "topology": topology, "seed": seed, **swarm}
        if budget is not None:
            self._settings["budget"] = budget
        self._particles_of_trials: dict[str, dict[str, Any]] = {}
        ParticleSwarm({}, **self._settings)  # so that a wrong setting is an error here, not at the first trial
        super().__init__(
            space, metric, mode, points_to_evaluate, evaluated_rewards, time_attr, max_t, repeats, further_objectives
        )

    @property
    def algorithm(self) -> str:
        """Name of the search algorithm."""
        return "ParticleSwarm"

    def _make_optimiser(self, space: Space, budget: int | None) -> ParticleSwarm:
        settings = self._settings if budget is None else {"budget": budget, **self._settings}
        if self.n_objectives > 1:
            return ParetoSwarm(space, self.n_objectives, **settings)
        return ParticleSwarm(space, **settings)

    def _restore_optimiser(self, state: dict[str, Any], space: Space | None) -> ParticleSwarm:
        return (ParetoSwarm if self.n_objectives > 1 else ParticleSwarm).from_state(state, space)

    @property
    def swarm(self) -> ParticleSwarm | None:
        """The swarm; None before the search space is known."""
        return self._optimiser if isinstance(self._optimiser, ParticleSwarm) else None

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return a configuration, as `AskTellSearch.suggest` does, and note the particle that made it."""
        config = super().suggest(trial_id)
        if trial_id in self._live_trial_mapping and self.swarm is not None:
            self._particles_of_trials[trial_id] = self.swarm.particle_of(self._live_trial_mapping[trial_id])
        return config

    def particle_of(self, trial_id: str) -> dict[str, Any]:
        """Describe the particle behind a trial, running or complete, for a table of results.

        Returns:
            ``particle``: its index; ``position``: position of the trial in the unit cube, a list of n_dims numbers;
            ``velocity_norm``: norm of its velocity, in cube widths per move; ``personal_best``: the best value of the
            particle so far, in the metric's own direction, None before the first and with further objectives.

        Raises:
            KeyError: If the trial was not suggested by this searcher.
        """
        if trial_id not in self._particles_of_trials:
            raise KeyError(f"trial {trial_id!r} was not suggested by this searcher")
        particle = self._particles_of_trials[trial_id]
        best = self.swarm.personal_best(particle["particle"]) if self.swarm is not None else None
        return {**particle, "personal_best": -best if best is not None and self._mode == "max" else best}

    def get_state(self) -> dict[str, Any]:
        """Return the whole state as JSON values."""
        return {**super().get_state(), "flown": dict(self._particles_of_trials)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what ``get_state`` returned.

        Raises:
            ValueError: If the state is of another version, algorithm, metric, mode or search space, or of a swarm whose
                ``screening`` or ``generational`` is not the one given.
        """
        if "flown" not in state:  # of an earlier version of this package, which named no algorithm
            check_same(
                "the saved search has", {"algorithm": state.get("algorithm", "another")}, {"algorithm": self.algorithm}
            )
        if state["optimiser"] is not None:
            screening, settings = state["optimiser"]["screening"], state["optimiser"]["settings"]
            saved = {"screening": screening is not None, "generational": settings["generational"]}
            given = {name: bool(self._settings[name]) if name in self._settings else None for name in saved}
            check_same("the saved search has", saved, given)
        super().set_state(state)
        self._particles_of_trials = dict(state["flown"])
