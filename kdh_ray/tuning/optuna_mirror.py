"""A search mirrored in an Optuna storage, so that optuna-dashboard displays it while it runs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from kdh_ray.tuning.numbers import finite
from kdh_ray.tuning.trials import Trial

_NUMBER = "trial"  # user attribute with the trial's number in the search


class OptunaMirror:
    """Copies trials into an Optuna study; a listener of ``tune``. Optuna suggests nothing.

    A resumed search continues in the same study. Trials that were stopped are pruned ones there.

    Args:
        study: Name of the study.
        storage: URL of the storage, such as ``sqlite:///optuna.db``.
        space: Ray Tune's domains, by name. Parameters without one are user attributes of the trials.
        metric: Name of the result that the search optimises.
        mode: ``max`` or ``min``.
    """

    def __init__(self, study: str, storage: str, space: Mapping[str, Any], metric: str, mode: str) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._states = optuna.trial.TrialState
        self._distributions = _distributions(space)
        self._study = optuna.create_study(
            storage=storage,
            sampler=optuna.samplers.RandomSampler(),
            study_name=study,
            direction="maximize" if mode == "max" else "minimize",
            load_if_exists=True,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study.set_metric_names([metric])
        earlier = self._study.get_trials(deepcopy=False)
        self._ended = {trial.user_attrs.get(_NUMBER) for trial in earlier if trial.state.is_finished()}
        self._running = {
            trial.user_attrs[_NUMBER]: optuna.trial.Trial(self._study, trial._trial_id)
            for trial in earlier
            if _NUMBER in trial.user_attrs and not trial.state.is_finished()
        }
        self._steps = {
            trial.user_attrs[_NUMBER]: max(trial.intermediate_values, default=0)
            for trial in earlier
            if _NUMBER in trial.user_attrs
        }

    def __call__(self, trial: Trial) -> None:
        """Copy what is new of a trial."""
        if trial.number in self._ended:
            return
        copy = self._running.get(trial.number) or self._start(trial)
        for report in trial.reports:
            if report.time > self._steps.get(trial.number, 0):
                copy.report(report.score, int(report.time))
                self._steps[trial.number] = int(report.time)
        if trial.ended:
            self._end(trial, copy)

    def _start(self, trial: Trial) -> Any:
        known = {name: value for name, value in trial.config.items() if _has(self._distributions.get(name), value)}
        other = {name: repr(value) for name, value in trial.config.items() if name not in known}
        particle = {name: value for name, value in trial.particle.items() if name == "particle"}
        self._study.enqueue_trial(known, user_attrs={_NUMBER: trial.number, "name": trial.name, **particle, **other})
        copy = self._study.ask({name: self._distributions[name] for name in known})
        self._running[trial.number] = copy
        return copy

    def _end(self, trial: Trial, copy: Any) -> None:
        score = finite(trial.score)
        for name, value in {"error": trial.error, "seconds": trial.seconds, "worker": trial.worker}.items():
            if value:
                copy.set_user_attr(name, value)
        if trial.status == "ok" and score is not None:
            self._study.tell(copy, score)
        else:
            self._study.tell(copy, state=self._states.PRUNED if trial.status == "stopped" else self._states.FAIL)
        self._ended.add(trial.number)
        del self._running[trial.number]


def _has(distribution: Any, value: Any) -> bool:
    """Return True if an Optuna distribution has a value; Optuna draws another one in place of one that it lacks."""
    try:
        return distribution is not None and bool(distribution._contains(distribution.to_internal_repr(value)))
    except (TypeError, ValueError):
        return False


def _distributions(space: Mapping[str, Any]) -> dict[str, Any]:
    """Return Optuna's distributions of the domains that it can display."""
    from ray.tune.search.optuna import OptunaSearch

    found: dict[str, Any] = {}
    for name, domain in space.items():
        try:
            found |= OptunaSearch.convert_search_space({name: domain})
        except ValueError:  # such as a normal distribution
            continue
    return found
