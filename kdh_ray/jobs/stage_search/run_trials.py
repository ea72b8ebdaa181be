"""The trials of a search, on Ray Tune, with a row for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from kdh_ray.events import EventLog
from kdh_ray.jobs.memory import PROCESS
from kdh_ray.jobs.stage_search.plan import SearchPlan
from kdh_ray.jobs.stage_search.space import flat
from kdh_ray.jobs.stage_search.student_costs import check_budget
from kdh_ray.jobs.stage_search.trained_stage import TrainedStage
from kdh_ray.jobs.stage_search.trial_rows import TrialRows
from kdh_ray.jobs.stage_search.trial_task import trial_resources, trial_task
from kdh_ray.jobs.stage_search.trial_weights import WinnersWeights
from kdh_ray.tuning import SearchResult, make_scheduler, tune
from kdh_ray.tuning.trackers import make_listeners, make_trackers
from kdh_ray.tuning.trials import Listener, Trial

if TYPE_CHECKING:
    from kdh_ray.jobs.stage_search.trial import StageTask


@dataclass(frozen=True)
class TrialRuns:
    """Runs the trials of a search that are left.

    Attributes:
        plan: The search.
        searcher: Any fresh ``ray.tune.search.Searcher``.
        rows: Where trials are recorded.
        on_trial: Called with a trial when it starts, reports, and ends.
        log: Where notes for the user go.
        verbose: Show Ray's own log lines.
    """

    plan: SearchPlan
    searcher: Any
    rows: TrialRows
    on_trial: Callable[[Trial], None]
    log: EventLog
    verbose: bool

    def run(self) -> SearchResult:
        """Run the trials on the Ray that this process is connected to.

        Raises:
            UserError: If no student could keep its budget, or the cluster lacks the resources.
        """
        resources = trial_resources(self.plan.config)
        task = trial_task(self.plan, self.rows.corpus, resources["GPU"] > 0, self.log)
        check_budget([*task.costs.values()], self.plan.config.tune)
        trained = TrainedStage.of(self.plan)
        # With its own settings the stage is one of the trials, so it need not be trained twice.
        first = trained and trained.as_first_trial(self.searcher, task.costs_of)
        if first:
            self._listen(first)
        settings = self.plan.config.tune
        self.log.note(f"Searching: {settings.n_trials} trials of {self.plan.tuned} by {settings.searcher}")
        search = self._tune(task, resources)
        for trial in search.trials:  # a kill may have come between a trial's end and its row
            self.rows.write(trial)
        if search.exhausted:
            self.log.note(f"Every configuration of the search space has been tried: {len(search.trials)} trials")
        return search

    @cached_property
    def _trackers(self) -> list[Listener]:
        plan, settings = self.plan, self.plan.tune_settings
        names, folder = plan.config.tune.trackers, plan.folder.search.path
        return make_listeners(
            names, plan.config.name, folder, plan.domains, settings.metric, settings.mode, settings.further_objectives
        )

    @cached_property
    def _winners(self) -> WinnersWeights:
        return WinnersWeights(self.plan)

    def _listen(self, trial: Trial) -> None:
        if trial.ended:
            self.rows.write(trial)
            self._winners.add(trial)
        for tracker in self._trackers:
            tracker(trial)
        self.on_trial(replace(trial, config=flat(trial.config)))

    def _tune(self, task: StageTask, resources: Mapping[str, float]) -> SearchResult:
        from ray.tune import with_parameters

        from kdh_ray.jobs.stage_search.multi_worker_trial import trial_of_workers
        from kdh_ray.jobs.stage_search.trial import StageTrial

        plan, tune_config = self.plan, self.plan.config.tune
        one_worker = tune_config.workers_per_trial == 1
        settings = replace(
            plan.tune_settings,
            concurrency=tune_config.concurrency or _concurrency(resources, tune_config.workers_per_trial),
            # Ray Train reserves its workers' resources itself; the trial is only the process that waits for them.
            resources=resources if one_worker else {"memory": float(int(PROCESS))},
            verbose=self.verbose,
        )
        return tune(
            with_parameters(StageTrial if one_worker else trial_of_workers, task=task.in_object_store()),
            plan.domains,
            settings,
            searcher=self.searcher,
            storage=plan.folder.search.path,
            scheduler=self._scheduler(task),
            resume=True,
            callbacks=make_trackers(tune_config.trackers, plan.config.name, plan.folder.search.path),
            listener=self._listen,
        )

    def _scheduler(self, task: StageTask) -> Any:
        """Return what stops trials early: the configured rule and, where there are folds, the race over them."""
        from kdh_ray.jobs.stage_search.race import Race, TrialComparison

        plan, tune = self.plan, self.plan.config.tune
        rule = make_scheduler(tune.scheduler, plan.longest, tune.grace, tune.reduction)
        if len(task.validation.folds) == 1 or tune.scheduler == "none":
            return rule
        return Race(rule, TrialComparison(task.validation, plan.objective, plan.folder.search))


def _concurrency(resources: Mapping[str, float], workers: int) -> int | None:
    """Return how many trials of several workers the cluster has room for now; None for trials of one worker.

    None lets the search follow the cluster as it grows and shrinks.
    """
    from kdh_ray.cluster.nodes import Room

    return None if workers == 1 else max(1, Room(resources).count() // workers)
