"""Fused AdamW with layer-wise rates, and a warm-up followed by a cosine."""

from __future__ import annotations

import math

import torch

from kdh_ray.config import StageConfig
from kdh_ray.models.classifier import Classifier, encoder_layers


def make_optimiser(model: torch.nn.Module, classifier: Classifier, config: StageConfig) -> torch.optim.AdamW:
    """Return AdamW (Loshchilov and Hutter, 2019) over ``model``, which holds ``classifier`` and perhaps a projection.

    The encoder's top layer learns at ``learning_rate``, each layer below at ``layer_decay`` times the one above (Howard
    and Ruder, "ULMFiT", 2018), and everything outside the encoder at ``head_multiplier`` times the top layer's rate.
    Biases and normalisation weights (vectors) are not decayed. Frozen parameters are left out.
    """
    depth = {id(p): 0 for p in classifier.encoder.parameters()}  # 0: in no layer, as embeddings are
    layers = encoder_layers(classifier.encoder)
    for number, layer in enumerate(layers, start=1):
        depth.update({id(p): number for p in layer.parameters()})
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for parameter in filter(lambda parameter: parameter.requires_grad, model.parameters()):
        level = depth.get(id(parameter))
        scale = config.head_multiplier if level is None else config.layer_decay ** (len(layers) - level)
        decay = config.weight_decay if parameter.dim() > 1 else 0.0
        groups.setdefault((config.learning_rate * scale, decay), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": params, "lr": rate, "peak_lr": rate, "weight_decay": decay}
            for (rate, decay), params in groups.items()
        ],
        fused=True,
    )


def set_rate(optimiser: torch.optim.Optimizer, step: int, steps: int, warmup: float) -> None:
    """Set every group's rate for step ``step`` (from 0) of ``steps``.

    The rate is the group's ``peak_lr`` times a factor in 0..1, which rises linearly over the first ``warmup`` share
    of the steps and then falls to zero as half a cosine.

    The rate is a function of the step alone, so that there is no schedule to save and restore.
    """
    rising = max(1, round(warmup * steps))
    if step < rising:
        # Counted from 1, so that the first step is not taken at a rate of 0.
        scale = (step + 1) / rising
    else:
        # Equation 5 of Loshchilov and Hutter, "SGDR", ICLR 2017, with a lowest rate of 0 and no restarts.
        scale = 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))
    for group in optimiser.param_groups:
        group["lr"] = group["peak_lr"] * scale
