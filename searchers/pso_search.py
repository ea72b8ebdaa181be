"""A particle swarm for Ray Tune.

```python
from ray import tune
from searchers.pso_search import ParticleSwarmSearch

tuner = tune.Tuner(
    trainable,
    param_space={"lr": tune.loguniform(1e-5, 1e-2), "layers": tune.randint(1, 7)},
    tune_config=tune.TuneConfig(
        metric="loss", mode="min", num_samples=100, max_concurrent_trials=8, search_alg=ParticleSwarmSearch(seed=0)
    ),
)
```
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from searchers.ask_tell_search import AskTellSearch
from searchers.space import Space
from searchers.swarm import ParticleSwarm


class ParticleSwarmSearch(AskTellSearch):
    """Tune's trials as the moves of a `searchers.ParticleSwarm`: asynchronous, fidelity-aware, resumable.

    Honours Tune's contract as `searchers.ask_tell_search` describes it. A trial that a scheduler stopped ranks below
    every one that came further, and by its value among those that came as far.

    Args:
        space: Tune domains or this package's parameters; if not given, Tune passes its ``param_space``.
        metric: The result to optimise; Tune passes its own if not given.
        mode: ``min`` or ``max``.
        points_to_evaluate: Configurations to run first, nested or flat (``"a/b"``), whole or in part.
        evaluated_rewards: Results of ``points_to_evaluate``, which are then learnt from and not run.
        n_particles: Particles of the swarm. More trials at once than particles is fine.
        topology: ``global``, ``ring``, ``von-neumann`` or ``random``.
        seed: One seed gives one sequence of suggestions for one sequence of results.
        budget: Trials over which the swarm settles down; Tune's ``num_samples`` if not given.
        time_attr: The result that counts how far a trial came; a whole number such as ``training_iteration``, since
            values are compared among equals only. None compares all trials as full runs.
        max_t: ``time_attr`` of a full run. If not given: Tune's ``stop`` criterion on it, else the largest seen.
        **swarm: Further settings of `searchers.ParticleSwarm`: inertia, screening, bounds, generational, ...

    Raises:
        ValueError: If the metric or mode is a list, or the settings or space are impossible.
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
        **swarm: Any,
    ) -> None:
        self._settings: dict[str, Any] = {"n_particles": n_particles, "topology": topology, "seed": seed, **swarm}
        if budget is not None:
            self._settings["budget"] = budget
        self._flown: dict[str, dict[str, Any]] = {}
        ParticleSwarm({}, **self._settings)  # a wrong setting is an error here, not at the first trial
        super().__init__(space, metric, mode, points_to_evaluate, evaluated_rewards, time_attr, max_t)

    def _make(self, space: Space, budget: int | None) -> ParticleSwarm:
        settings = self._settings if budget is None else {"budget": budget, **self._settings}
        return ParticleSwarm(space, **settings)

    def _remake(self, state: dict[str, Any], space: Space | None) -> ParticleSwarm:
        return ParticleSwarm.from_state(state, space)

    @property
    def swarm(self) -> ParticleSwarm | None:
        """The swarm; None before the search space is known."""
        return self._optimiser if isinstance(self._optimiser, ParticleSwarm) else None

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        config = super().suggest(trial_id)
        if trial_id in self._live_trial_mapping and self.swarm is not None:
            self._flown[trial_id] = self.swarm.particle_of(self._live_trial_mapping[trial_id])
        return config

    def particle_of(self, trial_id: str) -> dict[str, Any]:
        """The particle behind a trial, running or complete, for a table of results.

        Returns:
            ``particle``: its index; ``position``: where in the unit cube the trial was, a list of n_dims numbers;
            ``velocity_norm``: how fast it came there, in cube widths a move; ``personal_best``: the best value that
            the particle has found by now, in the metric's own direction, None if none.

        Raises:
            KeyError: If the trial was not suggested here.
        """
        if trial_id not in self._flown:
            raise KeyError(f"trial {trial_id!r} was not suggested by this searcher")
        flown = self._flown[trial_id]
        best = self.swarm.personal_best(flown["particle"]) if self.swarm is not None else None
        return {**flown, "personal_best": -best if best is not None and self._mode == "max" else best}

    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), "flown": dict(self._flown)}

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self._flown = dict(state["flown"])
