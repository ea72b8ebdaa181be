"""A trial of a stage: the stage's own training loop in a worker of Ray Tune, one epoch per step."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import ray
from ray.tune import Trainable
from ray.tune.result import SHOULD_CHECKPOINT, TRAINING_ITERATION

from kdh_ray import distributed
from kdh_ray.evaluation.objectives import OBJECTIVES
from kdh_ray.jobs.stage_search.fold_scores import FoldScores, ValidationFolds
from kdh_ray.jobs.stage_search.plan import FOLDS_RUN, scores_of
from kdh_ray.jobs.stage_search.predictions import save_predictions
from kdh_ray.jobs.stage_search.space import configured
from kdh_ray.jobs.stage_search.student_costs import violation
from kdh_ray.jobs.stage_search.trial_weights import SAVING_SHARE, TrialWeights
from kdh_ray.run_folder import SearchFolder
from kdh_ray.tuning.trials import RATE, VIOLATION, number_of

if TYPE_CHECKING:
    from kdh_ray.config import StageConfig, TuneConfig
    from kdh_ray.jobs.stage_search.student_costs import Costs
    from kdh_ray.training.loop import EpochReport
    from kdh_ray.training.stages import Material
    from kdh_ray.training.state import TrainingState

_BEST_LOGITS = "best-logits.npy"


@dataclass(frozen=True)
class StageTask:
    """The input of every worker, sent once through Ray's object store. It has no test split and no texts.

    Attributes:
        stage: The stage, before a trial's settings.
        materials: By start, of each fold, or one if there are none: tokens, labels, teacher logits and the start's
            weights, with every layer and placeholder dropout; or references to them in Ray's object store.
        validation: The documents that judge a trial.
        precision: As configured.
        device: ``cpu`` or ``cuda``.
        folder: Of the search, on storage that all machines share.
        tune: Settings of the search.
        costs: By start, costs of every student that a trial may build.
    """

    stage: StageConfig
    materials: Mapping[str, Sequence[Any]]
    validation: ValidationFolds
    precision: str
    device: str
    folder: SearchFolder
    tune: TuneConfig
    costs: Mapping[str, Costs]

    def material(self, start: str, fold: int) -> Material:
        """Return the material of a start and a fold; folds count from 0 here."""
        reference = self.materials[start][fold]
        material: Material = ray.get(reference) if isinstance(reference, ray.ObjectRef) else reference
        return material

    def in_object_store(self) -> StageTask:
        """Return the task with references for materials, so that a worker has those of one start and fold in memory."""
        materials = {start: [ray.put(each) for each in materials] for start, materials in self.materials.items()}
        return replace(self, materials=materials)

    def costs_of(self, values: Mapping[str, Any]) -> dict[str, float]:
        """Return parameters and latency of a trial's student, and by how much it exceeds its budgets."""
        stage = configured(self.stage, values)
        costs = self.costs[stage.start].of(stage)
        return {**costs, VIOLATION: violation(costs, self.tune)}

    def over_budget(self, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the only result of a trial whose student exceeds its budget; None for any other trial."""
        costs = self.costs_of(values)
        if costs[VIOLATION] <= 0:
            return None
        objective = OBJECTIVES[self.tune.objectives[0]]
        return {
            **costs,
            objective.column: objective.of_infeasible(costs[VIOLATION]),
            TRAINING_ITERATION: 0,
            "done": True,
        }


class TrialTraining:
    """The training of one configuration of a stage, in a worker of Tune or in one of several workers of Ray Train.

    With folds it trains a model a fold, one after the other.

    Args:
        task: Input that all trials share.
        values: Settings of the trial.
        precision: ``float32`` or ``bfloat16``.
    """

    def __init__(self, task: StageTask, values: Mapping[str, Any], precision: str) -> None:
        self._task, self._precision = task, precision
        self._costs, self._over_budget = task.costs_of(values), task.over_budget(values)
        if self._over_budget is not None:
            return
        self._stage = configured(task.stage, values)
        self.fold_scores = FoldScores(task.validation)
        self._begin(0)

    def _begin(self, fold: int) -> None:
        """Prepare the training of a fold."""
        from kdh_ray.jobs.stage_search.student import student
        from kdh_ray.models.attention import select_attention
        from kdh_ray.models.trial_pass import usable_precision
        from kdh_ray.training.loop import Training

        self._started = datetime.now(UTC).isoformat(timespec="seconds")
        self._weights: TrialWeights | None = None
        task, stage, material = self._task, self._stage, self._task.material(self._stage.start, fold)
        train = material.train if stage.max_tokens is None else material.train.cut(stage.max_tokens)
        validation = material.read(stage.max_tokens)
        model = student(material.model, stage).to(task.device)
        precision = usable_precision(model.encoder, self._precision, task.device)
        select_attention(model.encoder, task.device, precision)
        self.training = Training(
            model, train, validation, stage, seed=material.seed, combine=material.reading.combine, precision=precision
        )

    def save(self, folder: Path) -> None:
        """Save what the next epoch needs, without the best weights, which ``TrialWeights`` stores."""
        self.fold_scores.save(folder)
        self._state(folder).save([asdict(report) for report in self.training.history], None)
        if self.training.best_logits is not None:
            np.save(folder / _BEST_LOGITS, self.training.best_logits, allow_pickle=False)

    def load(self, folder: Path) -> None:
        """Resume after the epoch of :meth:`save`; the training continues as if it had not been interrupted."""
        from kdh_ray.training.loop import EpochReport

        if self.fold_scores.load(folder):
            self._begin(self.fold_scores.finished)
        state = self._state(folder)
        self.training.history = [EpochReport(**entry) for entry in state.restore(state.newest())]
        if (folder / _BEST_LOGITS).exists():
            self.training.best_logits = np.load(folder / _BEST_LOGITS, allow_pickle=False)

    def _state(self, folder: Path) -> TrainingState:
        from kdh_ray.training.state import TrainingState

        return TrainingState(folder, self.training.objective, self.training.optimiser, self.training.average)

    def epoch(self, trial: str = "") -> dict[str, Any]:
        """Train one epoch, and return the result that the trial reports.

        Args:
            trial: Its name, which ends in its number. With a name, the best epoch's weights and validation logits are
                saved.

        Raises:
            MemoryError: If the GPU has not enough memory.
        """
        import torch

        if self._over_budget is not None:
            return self._over_budget
        try:
            report = self.training.advance()
        except torch.OutOfMemoryError as error:
            reason = ". ".join(str(error).split(". ")[:2])
            raise MemoryError(f"lower batch_size, max_tokens or the trials on a GPU ({reason})") from None
        if trial:
            self._keep(number_of(trial), report)
        result = {
            **self._costs,
            TRAINING_ITERATION: self.fold_scores.epochs + report.epoch,
            RATE: report.documents_per_second,
            "done": self.training.finished and self.fold_scores.finished + 1 == len(self._task.validation.folds),
        }
        best = max(self.training.history, key=lambda entry: entry.score)
        if len(self._task.validation.folds) == 1:
            return result | scores_of(asdict(best))
        if self.training.finished:
            self._end_fold(trial)
        scores = self.fold_scores.scores() if self.fold_scores.finished else scores_of(asdict(best))
        return {**result, **scores, FOLDS_RUN: self.fold_scores.finished}

    def _keep(self, number: int, report: EpochReport) -> None:
        """Save the weights of the best epoch so far and, without folds, its validation logits."""
        folder = self._task.folder
        if report.best and self.training.best_logits is not None and len(self._task.validation.folds) == 1:
            save_predictions(folder.predictions(number), self.training.best_logits)
        if self._weights is None:
            weights = folder.model_weights(number, self.fold_scores.finished)
            self._weights = TrialWeights(weights, self.training, self._facts())
        self._weights.add(report)

    def _facts(self) -> dict[str, Any]:
        import torch

        return {
            "started": self._started,
            "device": self._task.device,
            "precision": self.training.precision,
            "workers": distributed.size(),
            "threads": torch.get_num_threads(),
        }

    def _end_fold(self, trial: str) -> None:
        """Keep what the model of a fold says of it, and begin the next one."""
        if self.training.best_logits is None:
            raise RuntimeError("a fold ended without predictions")
        self.fold_scores.add(self.training.best_logits, len(self.training.history))
        if trial:
            save_predictions(self._task.folder.predictions(number_of(trial)), self.fold_scores.logits)
        if self.fold_scores.finished < len(self._task.validation.folds):
            self._begin(self.fold_scores.finished)


class StageTrial(Trainable):  # type: ignore[misc]  # Ray is untyped
    """One configuration of a stage.

    It is a class, not a function, for two reasons. Tune reuses the worker of a class for the next trial
    (``reset_config``) with all that it has loaded; a Ray Train job per trial would take longer to start than many a
    trial runs. And a trial can be paused, stopped and resumed between any two epochs.

    A trial reports the validation scores of its best epoch by micro F1, because a stage keeps the weights of that
    epoch. Its unit of time is the epoch. With folds it reports, from the end of the first, the scores over all that are
    finished. A student over its budget is not trained; see ``student_costs.violation``.
    """

    def __repr__(self) -> str:
        return "trial worker"

    def setup(self, config: dict[str, Any], task: StageTask) -> None:
        """Prepare a worker for its first trial."""
        import torch

        from kdh_ray.hardware import precision

        self._task = task
        self._precision = precision(task.precision)
        self._saving = 0.0  # seconds that the last checkpoint took in this worker
        torch.set_num_threads(task.tune.cpus_per_trial)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin another trial in this worker."""
        self._trial = TrialTraining(self._task, new_config, self._precision)
        self._unsaved = 0.0  # seconds of training that a lost worker would cost
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch."""
        name = str(self.trial_name) if self.is_actor() else ""
        if name:  # shown by the dashboard, ps and top; Ray itself can't rename a worker
            ray._raylet.setproctitle(f"ray::{name}")
        started = time.perf_counter()
        result = self._trial.epoch(name)
        self._unsaved += time.perf_counter() - started
        return {**result, SHOULD_CHECKPOINT: not result["done"] and self._saving <= SAVING_SHARE * self._unsaved}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Save what the next epoch needs."""
        started = time.perf_counter()
        self._trial.save(Path(checkpoint_dir))
        self._saving = 2 * (time.perf_counter() - started)  # twice, since Tune then copies the checkpoint
        self._unsaved = 0.0

    def load_checkpoint(self, checkpoint: str) -> None:
        """Resume after the epoch of ``save_checkpoint``; the training continues as if it had not been interrupted."""
        self._trial.load(Path(checkpoint))
