"""The weights of finished trials, so that the best configuration is not trained a second time.

A trial stores them as the state of a stage whose training is over (``kdh_ray.training.state``). The stage of the best
configuration resumes from that state: it trains no more, and is scored and saved like any other.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from kdh_ray.jobs.stage_search.plan import SearchPlan
from kdh_ray.jobs.stage_search.space import has_own_settings
from kdh_ray.run_folder import StageFolder
from kdh_ray.tuning.trials import Trial, best_of

if TYPE_CHECKING:
    from kdh_ray.training.loop import EpochReport, Training

SAVING_SHARE = 0.1  # largest share of a trial's time that may go into its files


class TrialWeights:
    """Stores the weights of the best epoch of a trial's model, in the worker that trains it.

    They lie in a hidden folder until the training is over. A model whose trial is stopped before leaves none, since
    nothing could resume from it.

    Args:
        folder: Folder for the weights; remains of an interrupted attempt at the same trial are removed.
        training: The model's.
        facts: How the trial trains, as columns of a stage's result.
    """

    def __init__(self, folder: Path, training: Training, facts: Mapping[str, Any]) -> None:
        from kdh_ray.training.state import TrainingState

        remove_weights(folder)
        self._folder, self._training, self._facts = folder, training, facts
        self._state = TrainingState(_unfinished(folder), training.objective, training.optimiser, training.average)
        self._saving = self._seconds = 0.0

    def add(self, report: EpochReport) -> None:
        """Store the weights after an epoch, if it is the best so far and the disk is fast enough."""
        from safetensors import SafetensorError

        self._seconds += report.seconds
        started = perf_counter()
        try:
            self._save(report.best)
        except (OSError, SafetensorError):  # such as a full disk: the best configuration is then trained again
            remove_weights(self._folder)
        self._saving += perf_counter() - started

    def _save(self, best: bool) -> None:
        unfinished = self._state.folder
        if best and self._saving > SAVING_SHARE * self._seconds:
            shutil.rmtree(unfinished, ignore_errors=True)  # they would be those of an epoch that is not the best
        elif best or self._state.newest() is not None:
            history = [asdict(epoch) for epoch in self._training.history]
            self._state.save(history, self._training.validated_model() if best else None, last=True)
        if self._training.finished and self._state.newest() is not None:
            StageFolder.facts_in(unfinished).write_text(json.dumps(self._facts), encoding="utf-8")
            os.replace(unfinished, self._folder)


def hand_over_weights(weights: Path, stage: StageFolder) -> bool:
    """Move the weights of a trial's model to a stage that is not begun; return False if there are none."""
    if not weights.exists() or stage.finished or stage.training.exists():
        return False
    stage.path.mkdir(parents=True, exist_ok=True)
    os.replace(weights, stage.training)
    return True


class WinnersWeights:
    """Removes the weights of trials that lose, in the process that runs the search: few of many may be chosen.

    Args:
        plan: The search.
    """

    def __init__(self, plan: SearchPlan) -> None:
        self._plan = plan
        self._winners: list[Trial] = []

    def add(self, trial: Trial) -> None:
        """Keep the weights of the trials that may be chosen: of the best so far and, with ``tune.keep_default``, of the
        one with the stage's settings; of all that are finished if some of them teach the final student.
        """
        trials = [*self._winners, trial]
        best = best_of(trials, self._plan.objective.mode)
        self._winners = [each for each in trials if each is best or self._may_be_chosen(each)]
        for each in trials:
            if each not in self._winners:
                remove_weights(self._plan.folder.search.weights(each.number))

    def _may_be_chosen(self, trial: Trial) -> bool:
        """Return True if a trial may be chosen though another one is better."""
        config = self._plan.config
        if config.tune.final == "distilled" and trial.status == "ok":
            return True
        return config.tune.keep_default and has_own_settings(config, trial.config)


def remove_weights(folder: Path) -> None:
    """Remove weights that a trial has trained, and remains of those that it was training."""
    for each in (folder, _unfinished(folder)):
        shutil.rmtree(each, ignore_errors=True)


def _unfinished(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}")
