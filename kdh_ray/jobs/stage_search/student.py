"""The model that a trial begins with, made from the one that all workers are given."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kdh_ray.config import StageConfig
    from kdh_ray.models.classifier import Classifier

PLACEHOLDER_DROPOUT = 0.5  # of the model that workers are given; tells apart what dropout applies to (attention: 0)


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
