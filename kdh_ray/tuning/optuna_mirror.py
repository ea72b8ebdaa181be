"""A search mirrored in an Optuna storage, so that optuna-dashboard displays it while it runs."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from kdh_ray.tuning.numbers import finite
from kdh_ray.tuning.trials import Trial

_Path = tuple[Any, ...]
_NUMBER = "trial"  # user attribute with the trial's number in the search


class OptunaMirror:
    """Copies trials into an Optuna study; a listener of ``tune``. Optuna suggests nothing.

    A resumed search continues in the same study. Trials that were stopped are pruned ones there.

    Args:
        study: Name of the study.
        storage: URL of the storage, such as ``sqlite:///optuna.db``.
        space: The search space of Ray Tune, nested or not. Parameters without a domain are user attributes of the
            trials.
        objectives: Names of the results that the search optimises, the first one the trials' score, each with its mode.
            Optuna has no reports on the way of a study with several.
    """

    def __init__(self, study: str, storage: str, space: Mapping[str, Any], objectives: Mapping[str, str]) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._states = optuna.trial.TrialState
        self._further = list(objectives)[1:]
        domains = list(_domains(space))
        self._distributions = _distributions(domains)
        self._last_keys = Counter(path[-1] for path in {path for path, _ in domains})
        self._study = optuna.create_study(
            storage=storage,
            sampler=optuna.samplers.RandomSampler(),
            study_name=study,
            directions=["maximize" if mode == "max" else "minimize" for mode in objectives.values()],
            load_if_exists=True,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study.set_metric_names([*objectives])
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
        for report in trial.reports if not self._further else ():
            if report.time > self._steps.get(trial.number, 0):
                copy.report(report.score, int(report.time))
                self._steps[trial.number] = int(report.time)
        if trial.ended:
            self._end(trial, copy)

    def _start(self, trial: Trial) -> Any:
        known: dict[str, Any] = {}
        other: dict[str, str] = {}
        for path, value in _leaves(trial.config):
            if _has(self._distributions.get(path), value):
                known[self._name(path)] = value
            else:
                other[self._name(path)] = repr(value)
        particle = {name: value for name, value in trial.particle.items() if name == "particle"}
        self._study.enqueue_trial(known, user_attrs={_NUMBER: trial.number, "name": trial.name, **particle, **other})
        distributions = {self._name(path): each for path, each in self._distributions.items()}
        copy = self._study.ask({name: distributions[name] for name in known})
        self._running[trial.number] = copy
        return copy

    def _name(self, path: _Path) -> str:
        """Return the last key of a path, or all keys where several paths end in the same one."""
        return "/".join(map(str, path if self._last_keys[path[-1]] > 1 else path[-1:]))

    def _end(self, trial: Trial, copy: Any) -> None:
        values = [finite(value) for value in (trial.score, *map(trial.values.get, self._further))]
        for name, value in {"error": trial.error, "seconds": trial.seconds, "worker": trial.worker}.items():
            if value:
                copy.set_user_attr(name, value)
        if trial.status == "ok" and None not in values:
            self._study.tell(copy, values)
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


def _leaves(tree: Any, path: _Path = ()) -> Iterator[tuple[_Path, Any]]:
    """Yield the path and value of each leaf of nested dicts."""
    if not isinstance(tree, Mapping):
        yield path, tree
        return
    for key, child in tree.items():
        yield from _leaves(child, (*path, key))


def _domains(tree: Any, path: _Path = (), chosen: bool = False) -> Iterator[tuple[_Path, Any]]:
    """Yield the path and domain of each value of a nested space, None for a constant.

    A path has several domains where choices bring their own. A constant within a choice, such as its name, has a domain
    of one value.
    """
    from ray.tune.search.sample import Categorical, Domain

    if isinstance(tree, Mapping):
        for key, child in tree.items():
            yield from _domains(child, (*path, key), chosen)
    elif isinstance(tree, Categorical) and any(isinstance(choice, Mapping) for choice in tree.categories):
        for choice in tree.categories:
            yield from _domains(choice, path, chosen=True)
    elif isinstance(tree, Domain):
        yield path, tree
    else:
        yield path, Categorical([tree]) if chosen else None


def _distributions(domains: Sequence[tuple[_Path, Any]]) -> dict[_Path, Any]:
    """Return an Optuna distribution for each path whose domains Optuna can display: one that covers them all."""
    from ray.tune.search.optuna import OptunaSearch

    found: dict[_Path, Any] = {}
    for path in dict.fromkeys(path for path, domain in domains if domain is not None):
        with suppress(ValueError):  # such as a normal distribution
            each = [OptunaSearch.convert_search_space({"": domain})[""] for at, domain in domains if at == path]
            found[path] = each[0] if len(each) == 1 else _union(each)
    return found


def _union(distributions: Sequence[Any]) -> Any:
    """Return a distribution that covers several; Optuna has one for each name.

    Raises:
        ValueError: If some are numbers and others choices.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    categorical = [isinstance(each, CategoricalDistribution) for each in distributions]
    if all(categorical):
        return CategoricalDistribution(list(dict.fromkeys(value for each in distributions for value in each.choices)))
    if any(categorical):
        raise ValueError("numbers and choices have no common distribution")
    low, high = min(each.low for each in distributions), max(each.high for each in distributions)
    whole = all(isinstance(each, IntDistribution) for each in distributions)
    return (IntDistribution if whole else FloatDistribution)(low, high, log=all(each.log for each in distributions))
