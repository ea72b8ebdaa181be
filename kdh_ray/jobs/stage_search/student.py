"""The model that a trial starts with, made from the one that all workers receive."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kdh_ray.config import StageConfig
    from kdh_ray.models.classifier import Classifier

# Dropout of the model that workers receive. It marks the modules that get the stage's dropout; attention has 0.
PLACEHOLDER_DROPOUT = 0.5


def student(start: Classifier, stage: StageConfig) -> Classifier:
    """Return a copy of ``start`` with the stage's layers and dropout, as ``StageRunner`` builds it for the stage."""
    from torch import nn

    from kdh_ray.models.classifier import take_layers

    model = copy.deepcopy(start) if stage.layers is None else take_layers(start, stage.layers)
    for module in model.modules():
        if isinstance(module, nn.Dropout) and module.p == PLACEHOLDER_DROPOUT:
            module.p = stage.dropout
    for name in ("hidden_dropout_prob", "dropout"):  # some encoders read dropout from here instead
        if hasattr(model.encoder.config, name):
            setattr(model.encoder.config, name, stage.dropout)
    return model
