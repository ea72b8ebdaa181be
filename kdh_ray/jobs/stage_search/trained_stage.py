"""The tuned stage as the first trial of its own search, if it is trained already: it is not trained again."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from kdh_ray.jobs.stage_search.plan import SearchPlan, scores_of
from kdh_ray.jobs.stage_search.predictions import save_predictions
from kdh_ray.jobs.stage_search.space import has_own_settings, own_settings
from kdh_ray.tuning.ledger import Ledger
from kdh_ray.tuning.trials import RATE, TIME_ATTR, VIOLATION, Report, Trial

_ID = "stage"  # any id that Ray Tune would not give to a trial


@dataclass(frozen=True)
class TrainedStage:
    """A finished stage, seen as a trial.

    Attributes:
        plan: The search.
        result: Content of its ``result.json``.
    """

    plan: SearchPlan
    result: Mapping[str, Any]

    @classmethod
    def of(cls, plan: SearchPlan) -> TrainedStage | None:
        """Return the tuned stage if it is finished with its own settings, else None; one with parts is no trial."""
        if plan.config.parts(plan.tuned):
            return None
        result = plan.folder.stage(plan.tuned).read_result()
        return None if result is None else cls(plan, result)

    def has(self, values: Mapping[str, Any]) -> bool:
        """Return True if a trial with ``values`` is this stage."""
        return has_own_settings(self.plan.config, values)

    def reports(self, costs: Mapping[str, float]) -> list[Report]:
        """Return what a trial would have reported: after each epoch, the scores of the best epoch so far.

        Args:
            costs: What its student costs to run.
        """
        reports, seconds = [], 0.0
        history = self.result["history"]
        for number, epoch in enumerate(history, start=1):
            # A stage keeps the weights of its best epoch by micro F1, whatever the objective is.
            best = max(history[:number], key=lambda entry: float(entry["score"]))
            seconds += epoch["seconds"]
            values = {**costs, **scores_of(best), RATE: epoch["documents_per_second"]}
            reports.append(Report(float(epoch["epoch"]), values[self.plan.objective.column], seconds, values))
        return reports

    def as_first_trial(self, searcher: Any, costs: Callable[[Mapping[str, Any]], Mapping[str, float]]) -> Trial | None:
        """Record the stage as the first trial of a fresh search, if it is what ``searcher`` suggests first.

        Any other first suggestion, or a student over its budget, is recorded as a trial that has yet to run.
        ``searcher`` itself stays fresh, because the search restores it from the ledger.

        Args:
            searcher: The searcher of the search, fresh.
            costs: Maps the settings of a trial to what its student costs to run.

        Returns:
            The trial, which has ended; None if the search has trials already, or its first is a different one.
        """
        from kdh_ray.tuning.adapters import RecordedSearcher
        from kdh_ray.tuning.recorder import Recorder

        plan = self.plan
        ledger = Ledger(plan.folder.search.path)
        # A stage that an earlier version trained has no reports of the newer objectives.
        knows = all(plan.objective.column in scores_of(epoch) for epoch in self.result["history"])
        if ledger.trials or not knows or not self.has(own_settings(plan.config)):
            return None
        # The copy makes the suggestion, so that the search can restore its own searcher from the ledger.
        recorder = Recorder(copy.deepcopy(searcher), ledger, plan.tune_settings)
        search = RecordedSearcher(recorder)
        search.set_search_properties(
            plan.objective.column, plan.objective.mode, plan.domains, num_samples=plan.config.tune.n_trials
        )
        values = search.suggest(_ID)
        if not isinstance(values, dict):
            return None
        trial, own_costs = recorder.trial(_ID), costs(values)
        if not self.has(values) or own_costs[VIOLATION] > 0:
            return None
        trial.started = str(self.result["started"])
        trial.reports = self.reports(own_costs)
        # The searcher learns from the stage as it would from any trial: report by report, then the end.
        results = [
            {**report.values, plan.objective.column: report.score, TIME_ATTR: int(report.time)}
            for report in trial.reports
        ]
        for result in results:
            search.on_trial_result(_ID, result)
        search.on_trial_complete(_ID, results[-1])
        self._copy_predictions(trial.number)
        trial.status = "ok"
        recorder.commit(trial)
        return trial

    def _copy_predictions(self, number: int) -> None:
        """Keep the stage's validation logits as those of its trial."""
        with suppress(OSError, ValueError):  # the search then says that its gain is not corrected
            file = self.plan.folder.stage(self.plan.tuned).predictions / "validation.npy"
            save_predictions(self.plan.folder.search.predictions(number), np.load(file, allow_pickle=False))
