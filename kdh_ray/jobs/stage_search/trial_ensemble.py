"""The trials of a search that teach its final student: an ensemble stage of the best configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kdh_ray.config import RunConfig, StageConfig
from kdh_ray.evaluation.forward_selection import forward_selection
from kdh_ray.evaluation.objectives import Objective
from kdh_ray.inference.logits import logistic
from kdh_ray.jobs.stage_search.fold_scores import objective_scores
from kdh_ray.jobs.stage_search.space import configured
from kdh_ray.tuning.trials import Trial

MOST_TRIALS = 8
"""Largest number of trials in an ensemble: each computes logits of every document that the student learns from."""


@dataclass(frozen=True)
class TrialEnsemble:
    """Trials whose mean logits teach the final student.

    Attributes:
        trials: The trials, the best one first; two or more.
        score: Validation score of their mean logits. They were chosen by it, so it is a little too good.
    """

    trials: tuple[Trial, ...]
    score: float

    @classmethod
    def select(
        cls,
        trials: Sequence[Trial],
        logits: Sequence[NDArray[np.float32]],
        targets: NDArray[np.int8],
        objective: Objective,
    ) -> TrialEnsemble | None:
        """Select from finished trials those whose mean scores best; None if no mean beats the best single one.

        Args:
            trials: The trials.
            logits: Their validation logits, (n_documents, n_labels) each.
            targets: (n_documents, n_labels) of 0 and 1.
            objective: The score.
        """

        def score(mean: NDArray[np.float32]) -> float:
            return objective.sign * objective_scores(targets, logistic(mean))[objective.column]

        chosen = forward_selection(logits, score, MOST_TRIALS)
        if len(chosen) < 2:
            return None
        mean = np.asarray(np.mean([logits[index] for index in chosen], axis=0, dtype=np.float32))
        return cls(tuple(trials[index] for index in chosen), objective.sign * score(mean))

    @property
    def numbers(self) -> list[int]:
        """Numbers of the trials."""
        return [trial.number for trial in self.trials]

    def models(self, tuned: str, stage: str) -> dict[str, Trial]:
        """Return the names that a stage's models have as members of the ensemble, with the trial of each.

        Args:
            tuned: The tuned stage.
            stage: Itself, or its model of a fold.
        """
        of_fold = stage.removeprefix(tuned)
        return {f"{tuned}-trials-{number}{of_fold}": trial for number, trial in enumerate(self.trials, start=1)}

    def stages(self, config: RunConfig, tuned: str) -> dict[str, StageConfig]:
        """Return the stages of the ensemble: its members, each the tuned stage as one trial has it, and their mean.

        Args:
            config: Configuration of the search.
            tuned: Name of the tuned stage.
        """
        from kdh_ray.training.stages import stage_seed

        stages: dict[str, StageConfig] = {}
        for name in config.with_parts(tuned) if config.data.folds > 1 else [tuned]:
            seed = stage_seed(config.seed, name, config.stages[name])  # that of the trials, whatever the name
            own = config.stages[name].model_copy(update={"members": 1, "seed": seed})
            stages |= {model: configured(own, trial.config) for model, trial in self.models(tuned, name).items()}
        members = {"members": len(self.trials), "seed": None}
        return {**stages, ensemble_name(tuned): config.stages[tuned].model_copy(update=members)}


def ensemble_name(tuned: str) -> str:
    """Return the name of the stage that the trials of a search make together."""
    return f"{tuned}-trials"
