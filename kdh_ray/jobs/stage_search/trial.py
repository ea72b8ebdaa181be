"""A trial of a stage: the stage's own training loop in a Tune worker, one epoch a step."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.tune import Trainable
from ray.tune.result import SHOULD_CHECKPOINT, TRAINING_ITERATION

from kdh_ray.tuning.trials import RATE, VIOLATION

if TYPE_CHECKING:
    from kdh_ray.config import StageConfig, TuneConfig
    from kdh_ray.jobs.stage_search.student_costs import Costs
    from kdh_ray.training.stages import Material

SCORES = {"f1_micro": "validation_f1_micro", "f1_macro": "validation_f1_macro"}
"""Objectives, and the results that they are."""
SAVING_SHARE = 0.1  # most of a trial's time that may go into checkpoints


@dataclass(frozen=True)
class StageTask:
    """What every worker is given, once, through Ray's object store: nothing of the test split, and no texts.

    Attributes:
        stage: The stage, before a trial's settings.
        material: Tokens, labels, teacher logits and the start's weights, with every layer and placeholder dropout.
        precision: As configured.
        device: ``cpu`` or ``cuda``.
        tune: The search's settings.
        costs: Of every student that it may build.
    """

    stage: StageConfig
    material: Material
    precision: str
    device: str
    tune: TuneConfig
    costs: Costs


class TrialTraining:
    """One configuration of a stage in training, in whatever process and beside however many others.

    Args:
        task: What all trials share.
        values: The trial's settings.
        precision: ``float32`` or ``bfloat16``.
    """

    def __init__(self, task: StageTask, values: Mapping[str, Any], precision: str) -> None:
        from kdh_ray.jobs.stage_search.space import configured
        from kdh_ray.jobs.stage_search.student import student
        from kdh_ray.models.attention import select_attention
        from kdh_ray.training.loop import Training

        self._over, self._about = over_budget(task, values), costs_of(task, values)
        if self._over is not None:
            return
        stage, material = configured(task.stage, values), task.material
        train = material.train if stage.max_tokens is None else material.train.cut(stage.max_tokens)
        validation = material.read(stage.max_tokens)
        model = student(material.model, stage).to(task.device)
        select_attention(model.encoder, task.device, precision)
        self.training = Training(
            model, train, validation, stage, seed=material.seed, combine=material.reading.combine, precision=precision
        )

    def epoch(self) -> dict[str, Any]:
        """Train one epoch; its results.

        Raises:
            MemoryError: If the GPU's memory won't do.
        """
        import torch

        if self._over is not None:
            return self._over
        try:
            report = self.training.advance()
        except torch.OutOfMemoryError as error:
            reason = ". ".join(str(error).split(". ")[:2])
            raise MemoryError(f"lower batch_size, max_tokens or the trials on a GPU ({reason})") from None
        best = max(self.training.history, key=lambda entry: entry.score)
        return {
            **self._about,
            SCORES["f1_micro"]: best.score,
            SCORES["f1_macro"]: best.f1_macro,
            TRAINING_ITERATION: report.epoch,
            RATE: report.documents_per_second,
            "done": self.training.finished,
        }


def costs_of(task: StageTask, values: Mapping[str, Any]) -> dict[str, float]:
    """A trial's parameters and latency, and by how much it is over its budgets."""
    from kdh_ray.jobs.stage_search.space import configured
    from kdh_ray.jobs.stage_search.student_costs import violation

    costs = task.costs.of(configured(task.stage, values))
    return {**costs, VIOLATION: violation(costs, task.tune)}


def over_budget(task: StageTask, values: Mapping[str, Any]) -> dict[str, Any] | None:
    """The only result of a trial whose student is over its budget; None for any other."""
    costs = costs_of(task, values)
    if costs[VIOLATION] <= 0:
        return None
    return {**costs, SCORES[task.tune.objective]: -costs[VIOLATION], TRAINING_ITERATION: 0, "done": True}


class StageTrial(Trainable):  # type: ignore[misc]  # Ray is untyped
    """One configuration of a stage.

    A class, not a function, since Tune then keeps the worker from one trial to the next (``reset_config``) with all
    that it has loaded, and since a trial can be paused, stopped and taken up again between any two epochs. A Ray Train
    job for each trial would cost longer to start than many a trial takes.

    Reports validation scores of the best epoch so far, since a stage keeps its weights; which is the best, micro F1
    says. Its time is epochs. A student over its budget is not trained; see ``costs.violation``.
    """

    def __repr__(self) -> str:
        return "trial worker"

    def setup(self, config: dict[str, Any], task: StageTask) -> None:
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
        if self.is_actor():  # for the dashboard's list of workers, ps and top; a worker's name in Ray is for good
            ray._raylet.setproctitle(f"ray::{self.trial_name}")
        started = time.perf_counter()
        result = self._trial.epoch()
        self._unsaved += time.perf_counter() - started
        return {**result, SHOULD_CHECKPOINT: not result["done"] and self._saving <= SAVING_SHARE * self._unsaved}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """What the next epoch needs. Not the best weights: the best configuration is trained again."""
        started = time.perf_counter()
        self._state(checkpoint_dir).save([asdict(report) for report in self._trial.training.history], None)
        self._saving, self._unsaved = 2 * (time.perf_counter() - started), 0.0  # Tune then copies it to its place

    def load_checkpoint(self, checkpoint: str) -> None:
        """Go on after the epoch of ``save_checkpoint``, as if nothing had been in between."""
        from kdh_ray.training.loop import EpochReport

        state = self._state(checkpoint)
        self._trial.training.history = [EpochReport(**entry) for entry in state.restore(state.newest())]

    def _state(self, folder: str) -> Any:
        from kdh_ray.training.state import TrainingState

        training = self._trial.training
        return TrainingState(Path(folder), training.objective, training.optimiser, training.average)
