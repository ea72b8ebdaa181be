"""A search before it starts: the stage whose settings are searched, their ranges, and the run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kdh_ray.config import RunConfig, SearchRange, StageConfig
from kdh_ray.evaluation.objectives import OBJECTIVES, Cost, Objective, objective_named
from kdh_ray.jobs.plan import RunPlan
from kdh_ray.jobs.stage_search.searcher import further_objectives
from kdh_ray.jobs.stage_search.space import (
    configured,
    domains,
    has_own_settings,
    longest_trial,
    search_space,
    tuned_stage,
)
from kdh_ray.jobs.stage_search.student_costs import LATENCY, PARAMETERS
from kdh_ray.jobs.stage_search.trial_ensemble import TrialEnsemble, ensemble_name
from kdh_ray.run_folder import RunFolder
from kdh_ray.tuning import TuneSettings
from kdh_ray.tuning.trials import RATE, VIOLATION

FOLDS_RUN = "folds_run"
"""Result of a trial: number of folds that it has finished."""

_FIELDS = {
    "f1_micro": "score", "f1_macro": "f1_macro", "average_precision": "average_precision", "log_loss": "log_loss",
}  # fmt: skip


def scores_of(epoch: Mapping[str, Any]) -> dict[str, float]:
    """Return the results that a trial reports of an epoch, one for each objective.

    Args:
        epoch: Fields of an ``EpochReport``; earlier versions stored fewer.
    """
    return {OBJECTIVES[name].column: epoch[field] for name, field in _FIELDS.items() if field in epoch}


@dataclass(frozen=True)
class SearchPlan:
    """Configuration, folder and tuned stage of a search, which all its steps share.

    Attributes:
        config: The whole configuration.
        folder: Folder of the run.
        tuned: Name of the stage whose settings are searched.
    """

    config: RunConfig
    folder: RunFolder
    tuned: str

    @classmethod
    def of(cls, run: RunPlan) -> SearchPlan:
        """Plan the search that a run's configuration asks for.

        Raises:
            ConfigError: If the configuration names no stage to tune, or the ranges do not fit the stage.
        """
        plan = cls(run.config, run.folder, tuned_stage(run.config))
        search_space(run.config)
        return plan

    @property
    def stage(self) -> StageConfig:
        """The tuned stage with its own settings."""
        return self.config.stages[self.tuned]

    @cached_property
    def space(self) -> dict[str, SearchRange]:
        """Ranges of the settings that are searched."""
        return search_space(self.config)

    @property
    def domains(self) -> dict[str, Any]:
        """The ranges as Ray Tune's domains."""
        return domains(self.space)

    @property
    def objective(self) -> Objective:
        """The score that the search optimises, first of all if there are several objectives."""
        return OBJECTIVES[self.config.tune.objectives[0]]

    @property
    def objectives(self) -> list[Objective | Cost]:
        """All that the search optimises."""
        return [objective_named(name) for name in self.config.tune.objectives]

    @property
    def trained(self) -> list[str]:
        """Stages that a trial trains one after the other: a model a fold, or the tuned stage itself."""
        return self.config.parts(self.tuned) if self.config.data.folds > 1 else [self.tuned]

    @property
    def longest(self) -> int:
        """Epochs of the longest trial, over all folds."""
        return len(self.trained) * longest_trial(self.stage, self.space)

    def epochs(self, values: Mapping[str, Any]) -> int:
        """Return the epochs of a trial with ``values`` over all folds, if nothing stops it early."""
        return len(self.trained) * configured(self.stage, values).total_epochs

    @property
    def tune_settings(self) -> TuneSettings:
        """Settings of Ray Tune, apart from what the cluster decides."""
        tune = self.config.tune
        return TuneSettings(
            trials=tune.n_trials,
            metric=self.objective.column,
            mode=self.objective.mode,
            max_t=self.longest,
            full_length=self.epochs,
            further_objectives=further_objectives(self.config),
            extra_results=(
                *(each.column for each in OBJECTIVES.values()),
                RATE,
                LATENCY,
                PARAMETERS,
                VIOLATION,
                FOLDS_RUN,
            ),
            spared=(lambda values: has_own_settings(self.config, values)) if tune.keep_default else None,
            time_budget=tune.time_budget,
            trial_time_limit=tune.trial_time_limit,
            max_failures=tune.max_failures,
            name=self.config.name,
            job=self.config.job,
        )

    @property
    def needed_stages(self) -> list[str]:
        """Stages whose checkpoints the best configuration reads, in the order of the run."""
        trained = self.config.with_parts(self.tuned, *self.config.dependents(self.tuned))
        return self.config.needs(*trained)

    def best_config(self, values: Mapping[str, Any], ensemble: TrialEnsemble | None = None) -> RunConfig:
        """Return a configuration of the tuned stage with ``values``, and of the stages that build on it.

        It names earlier stages by their checkpoints in the run's folder, so that it is an ordinary run of its own.

        Args:
            values: Settings of the chosen trial.
            ensemble: Trials that teach the stage along with its teachers: a stage before it.
        """
        trained = self.config.with_parts(self.tuned, *self.config.dependents(self.tuned))
        stages = {name: self.config.stages[name] for name in trained}
        for name in self.config.with_parts(self.tuned):
            stages[name] = configured(stages[name], values)
        if ensemble is not None:
            for name in self.config.with_parts(self.tuned):
                of_fold = stages[name].fold is not None
                trials = ensemble.models(self.tuned, name) if of_fold else [ensemble_name(self.tuned)]
                stages[name] = stages[name].model_copy(update={"teachers": (*stages[name].teachers, *trials)})
            stages = {**ensemble.stages(self.config, self.tuned), **stages}
        cache = str(self.config.cache or self.folder.cache)  # share the tokens and logits that trials have used
        return self.config.with_only(
            stages, lambda name: self.folder.stage(name).checkpoint, cache=cache, baselines={"tfidf": False}
        )
