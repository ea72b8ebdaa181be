"""A race over folds: a trial goes on to its next fold only while it isn't clearly worse than the best one.

Both are compared on the documents of the folds that both have finished, by a paired bootstrap over these documents.
Racing is the idea of Maron and Moore ("Hoeffding races", NIPS 1993); irace (Lopez-Ibanez et al., 2016) races
configurations over problem instances as this does over folds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray.tune.result import DONE
from ray.tune.schedulers import TrialScheduler

from kdh_ray.evaluation.objectives import Objective
from kdh_ray.evaluation.selection import paired_differences
from kdh_ray.inference.logits import logistic
from kdh_ray.jobs.stage_search.fold_scores import ValidationFolds, objective_scores
from kdh_ray.jobs.stage_search.plan import FOLDS_RUN
from kdh_ray.jobs.stage_search.predictions import read_predictions
from kdh_ray.run_folder import SearchFolder
from kdh_ray.tuning.trials import number_of

LEVEL = 0.2
"""Chance that a trial which is as good as the best is stopped at all; it is divided among the folds (Bonferroni)."""


@dataclass(frozen=True)
class TrialComparison:
    """Comparisons of trials by their predictions.

    Attributes:
        validation: The documents of all folds.
        objective: The score that is compared.
        search: Folder with the trials' predictions.
    """

    validation: ValidationFolds
    objective: Objective
    search: SearchFolder

    def is_clearly_worse(self, trial: int, finished: int) -> bool:
        """Return True if a trial that has finished so many folds is clearly worse than the best other trial.

        The best is the one with the most finished folds; of several, the one with the best score on them.
        """
        own = self._logits(self.search.predictions(trial))
        if own is None:
            return False
        documents, truth = self.validation.of_first(finished), self.validation.targets
        best = self._best_other(trial, finished)
        if best is None:
            return False
        mine, theirs = (logistic(each[documents]) for each in (own, best))
        differences = paired_differences(truth[documents], mine, theirs, self.objective)
        looks = max(1, len(self.validation.folds) - 1)  # at the end of the last fold there is nothing left to save
        return bool((differences >= 0).mean() < LEVEL / looks)

    def _best_other(self, trial: int, finished: int) -> NDArray[np.float32] | None:
        """Return the logits of the best other trial among those with as many finished folds or more."""
        files = [file for file in self.search.all_predictions() if file != self.search.predictions(trial)]
        others = [logits for file in files if (logits := self._logits(file)) is not None]
        counts = [self._finished(logits) for logits in others]
        most = max(counts, default=0)
        if most < finished:
            return None
        leaders = [logits for logits, count in zip(others, counts, strict=True) if count == most]
        documents = self.validation.of_first(most)
        return max(leaders, key=lambda logits: self._merit(logits, documents))

    def _finished(self, logits: NDArray[np.float32]) -> int:
        return sum(bool(np.isfinite(logits[fold]).all()) for fold in self.validation.folds)

    def _merit(self, logits: NDArray[np.float32], documents: NDArray[np.int64]) -> float:
        scores = objective_scores(self.validation.targets[documents], logistic(logits[documents]))
        return self.objective.sign * scores[self.objective.column]

    def _logits(self, file: Path) -> NDArray[np.float32] | None:
        return read_predictions(file, self.validation.targets.shape)


class Race(TrialScheduler):  # type: ignore[misc]  # Ray is untyped
    """A scheduler that adds the race to another one: whatever that one stops is stopped.

    It keeps no state but which folds it has seen end; the predictions in the search's folder are the rest, so that a
    resumed search races against the trials before.

    Args:
        scheduler: The other scheduler.
        comparison: Compares the trials.
    """

    def __init__(self, scheduler: TrialScheduler, comparison: TrialComparison) -> None:
        super().__init__()
        self._scheduler, self._comparison = scheduler, comparison
        self._seen: dict[str, int] = {}  # finished folds by trial id

    @property
    def metric(self) -> str | None:
        """Metric of the other scheduler."""
        return self._scheduler.metric  # type: ignore[no-any-return]

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Pass Tune's metric and mode on."""
        return bool(self._scheduler.set_search_properties(metric, mode, **spec))

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Pass a new trial on."""
        self._scheduler.on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Return the other scheduler's decision; a stop if the trial has ended a fold clearly worse than the best."""
        decision: str = self._scheduler.on_trial_result(tune_controller, trial, result)
        finished = int(result.get(FOLDS_RUN, 0))
        ended_a_fold = finished > self._seen.get(trial.trial_id, 0)
        self._seen[trial.trial_id] = finished
        goes_on = decision == TrialScheduler.CONTINUE and not result.get(DONE)
        if goes_on and ended_a_fold and self._comparison.is_clearly_worse(number_of(str(trial)), finished):
            return str(TrialScheduler.STOP)
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Pass the end of a trial on."""
        self._scheduler.on_trial_complete(tune_controller, trial, result)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Pass a failure on."""
        self._scheduler.on_trial_error(tune_controller, trial)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Pass a removal on."""
        self._scheduler.on_trial_remove(tune_controller, trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Return the other scheduler's choice."""
        return self._scheduler.choose_trial_to_run(tune_controller)

    def debug_string(self) -> str:
        """Return the other scheduler's description."""
        return str(self._scheduler.debug_string())
