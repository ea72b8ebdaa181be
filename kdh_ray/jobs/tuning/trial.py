"""A trial of a stage: the stage's own training loop in a Tune worker, one epoch a step."""

from __future__ import annotations

import copy
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray.tune import Trainable
from ray.tune.result import SHOULD_CHECKPOINT

if TYPE_CHECKING:
    from kdh_ray.config import StageConfig
    from kdh_ray.distillation.stages import Material
    from kdh_ray.models.classifier import Classifier

METRIC = "validation_f1_micro"
SAVING_SHARE = 0.1  # most of a trial's time that may go into checkpoints
PLACEHOLDER_DROPOUT = 0.5  # of the model that workers are given; tells apart what dropout applies to (attention: 0)


@dataclass(frozen=True)
class StageTask:
    """What every worker is given, once, through Ray's object store: nothing of the test split, and no texts.

    Attributes:
        stage: The stage, before a trial's settings.
        material: Tokens, labels, teacher logits and the start's weights, with every layer and placeholder dropout.
        precision: As configured.
        device: ``cpu`` or ``cuda``.
        threads: Of a trial.
    """

    stage: StageConfig
    material: Material
    precision: str
    device: str
    threads: int


class StageTrial(Trainable):  # type: ignore[misc]  # Ray is untyped
    """One configuration of a stage.

    A class, not a function, since Tune then keeps the worker from one trial to the next (``reset_config``) with all
    that it has loaded, and since a trial can be paused, stopped and taken up again between any two epochs. A Ray Train
    job for each trial would cost longer to start than many a trial takes.

    Reports ``validation_f1_micro``, the best so far, since a stage keeps its best epoch's weights. Its time is epochs.
    """

    def setup(self, config: dict[str, Any], task: StageTask) -> None:
        import torch

        from kdh_ray.hardware import precision

        self._task = task
        self._precision = precision(task.precision)
        self._saving = 0.0  # seconds that the last checkpoint took in this worker
        torch.set_num_threads(task.threads)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin another trial in this worker."""
        from kdh_ray.distillation.loop import Training
        from kdh_ray.jobs.tuning.space import configured

        material = self._task.material
        stage = configured(self._task.stage, new_config)
        model = student(material.model, stage).to(self._task.device)
        self._training = Training(
            model, material.train, material.validation, stage, seed=material.seed, precision=self._precision
        )
        self._unsaved = 0.0  # seconds of training that a lost worker would cost
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch."""
        report = self._training.advance()
        done = self._training.finished
        self._unsaved += report.seconds
        return {
            METRIC: max(entry.score for entry in self._training.history),
            "training_iteration": report.epoch,
            "done": done,
            SHOULD_CHECKPOINT: not done and self._saving <= SAVING_SHARE * self._unsaved,
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """What the next epoch needs. Not the best weights: the best configuration is trained again."""
        started = time.perf_counter()
        self._state(checkpoint_dir).save([asdict(report) for report in self._training.history], None)
        self._saving, self._unsaved = 2 * (time.perf_counter() - started), 0.0  # Tune then copies it to its place

    def load_checkpoint(self, checkpoint: str) -> None:
        """Go on after the epoch of ``save_checkpoint``, as if nothing had been in between."""
        from kdh_ray.distillation.loop import EpochReport

        self._training.history = [EpochReport(**entry) for entry in self._state(checkpoint).restore()]

    def _state(self, folder: str) -> Any:
        from kdh_ray.distillation.state import TrainingState

        training = self._training
        return TrainingState(Path(folder), training.objective, training.optimiser, training.average)


def student(start: Classifier, stage: StageConfig) -> Classifier:
    """A copy of ``start`` with the stage's layers and dropout; the same as ``StageRunner`` builds for the stage."""
    from torch import nn

    from kdh_ray.models.classifier import take_layers

    model = copy.deepcopy(start) if stage.layers is None else take_layers(start, stage.layers)
    for module in model.modules():
        if isinstance(module, nn.Dropout) and module.p == PLACEHOLDER_DROPOUT:
            module.p = stage.dropout
    for name in ("hidden_dropout_prob", "dropout"):  # read by encoders that have no module for it
        if hasattr(model.encoder.config, name):
            setattr(model.encoder.config, name, stage.dropout)
    return model
