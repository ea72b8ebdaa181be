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

    def stages(self, config: RunConfig, tuned: str, seed: int) -> dict[str, StageConfig]:
        """Return the ensemble as a stage of the configuration, after its members: the tuned stage as each trial has it.

        Args:
            config: Configuration of the search.
            tuned: Name of the tuned stage.
            seed: Seed of the trials.
        """
        own, name = config.stages[tuned].model_copy(update={"members": 1, "seed": seed}), ensemble_name(tuned)
        members = {
            f"{name}-{number}": configured(own, trial.config) for number, trial in enumerate(self.trials, start=1)
        }
        return {**members, name: own.model_copy(update={"members": len(members)})}


def ensemble_name(tuned: str) -> str:
    """Return the name of the stage that the trials of a search make together."""
    return f"{tuned}-trials"
