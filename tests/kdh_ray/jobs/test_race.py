"""The race over folds: a trial stops at the end of a fold in which the best trial has clearly beaten it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray.tune.schedulers import FIFOScheduler

from kdh_ray.evaluation.objectives import OBJECTIVES
from kdh_ray.jobs.stage_search.fold_scores import ValidationFolds
from kdh_ray.jobs.stage_search.predictions import save_predictions
from kdh_ray.jobs.stage_search.race import Race, TrialComparison
from kdh_ray.run_folder import SearchFolder

DOCUMENTS, FOLDS = 300, 3


class Trials:
    """Trials with predictions of a given quality, in a search's folder."""

    def __init__(self, folder: Path, objective: str = "f1_micro") -> None:
        generator = np.random.default_rng(0)
        self.targets = (generator.random((DOCUMENTS, 4)) < 0.3).astype(np.int8)
        folds = np.array_split(generator.permutation(DOCUMENTS), FOLDS)
        self.validation = ValidationFolds(self.targets, folds)
        self.comparison = TrialComparison(self.validation, OBJECTIVES[objective], SearchFolder(folder))

    def add(self, number: int, noise: float, folds: int = FOLDS, seed: int = 0) -> None:
        """Write the predictions of a trial: the truth and noise of this size, in its first folds."""
        errors = np.random.default_rng([number, seed]).normal(0, noise, self.targets.shape)
        logits = np.full(self.targets.shape, np.nan, np.float32)
        judged = self.validation.of_first(folds)
        logits[judged] = (4 * self.targets - 2 + errors)[judged]
        save_predictions(self.comparison.search.predictions(number), logits)


@pytest.mark.parametrize("objective", ["f1_micro", "log_loss"])
def test_clearly_worse_trial_loses(tmp_path: Path, objective: str) -> None:
    trials = Trials(tmp_path, objective)
    trials.add(1, noise=1.0)
    trials.add(2, noise=4.0, folds=1)
    assert trials.comparison.is_clearly_worse(2, 1)
    assert not trials.comparison.is_clearly_worse(1, 1)


def test_equal_trials_are_seldom_stopped(tmp_path: Path) -> None:
    trials, lost = Trials(tmp_path), 0
    trials.add(1, noise=2.0)
    for seed in range(30):
        trials.add(2, noise=2.0, folds=1, seed=seed)
        lost += trials.comparison.is_clearly_worse(2, 1)
    assert lost <= 6  # 10 % a look; the one leader may be lucky


@pytest.mark.parametrize("objective", ["f1_micro", "log_loss"])
def test_the_best_of_the_leaders_is_the_measure(tmp_path: Path, objective: str) -> None:
    trials = Trials(tmp_path, objective)
    for number, noise in ((1, 4.0), (2, 0.5), (3, 4.0)):
        trials.add(number, noise=noise)
    trials.add(4, noise=3.0, folds=1)
    assert trials.comparison.is_clearly_worse(4, 1)


def test_first_trial_has_nobody_to_lose_to(tmp_path: Path) -> None:
    trials = Trials(tmp_path)
    trials.add(1, noise=4.0, folds=1)
    assert not trials.comparison.is_clearly_worse(1, 1)


def test_trials_behind_are_no_measure(tmp_path: Path) -> None:
    trials = Trials(tmp_path)
    trials.add(1, noise=0.5, folds=1)
    trials.add(2, noise=4.0, folds=2)
    assert not trials.comparison.is_clearly_worse(2, 2)


def test_race_stops_a_loser_at_the_end_of_a_fold(tmp_path: Path) -> None:
    trials = Trials(tmp_path)
    trials.add(1, noise=0.5)
    trials.add(2, noise=4.0, folds=1)
    race, loser = Race(FIFOScheduler(), trials.comparison), trial(2)

    def decide(folds: int, **result: Any) -> str:
        return race.on_trial_result(None, loser, {"folds_run": folds, **result})

    assert decide(0) == "CONTINUE"
    assert decide(1) == "STOP"
    assert decide(1) == "CONTINUE"  # within a fold nothing new is known
    assert race.on_trial_result(None, trial(1), {"folds_run": 3, "done": True}) == "CONTINUE"


def trial(number: int) -> Any:
    class Named(SimpleNamespace):
        def __str__(self) -> str:
            return f"particle-0-trial-{number:04d}"

    return Named(trial_id=str(number))
