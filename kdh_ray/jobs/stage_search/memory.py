"""How much memory a trial takes, before any is taken: an estimate from the encoder's configuration alone."""

from __future__ import annotations

from kdh_ray.config import RunConfig
from kdh_ray.jobs.stage_search.space import highest, lowest, search_space, tuned_stage
from kdh_ray.models.encoders import EncoderShape, encoder_shape

PROCESS = 0.7 * 2**30
"""Bytes of a worker that has loaded Ray, torch and transformers and nothing else."""


def memory_per_trial(config: RunConfig, on_gpu: bool = False) -> float:
    """Bytes to declare for a trial of the tuned stage: as configured, else estimated for the largest one."""
    if config.tune.memory_per_trial is not None:
        return config.tune.memory_per_trial
    name, space = tuned_stage(config), search_space(config)
    stage = config.stages[name]
    batch = int(highest(space["batch_size"])) if "batch_size" in space else stage.batch_size
    depth = int(highest(space["layers"])) if "layers" in space else stage.layers
    shape = encoder_shape(config.origin(stage.start)[0])
    averaged = "average" in space or stage.average > 0
    longest = highest(space["max_tokens"]) if "max_tokens" in space else stage.max_tokens or config.data.max_tokens
    size = min(int(longest), shape.positions)
    frozen = int(lowest(space["freeze"])) if "freeze" in space else stage.freeze
    return estimate(
        shape, depth or shape.layers, -(-batch // stage.accumulate), size, frozen=frozen, averaged=averaged,
        on_gpu=on_gpu,
    )  # fmt: skip


def estimate(
    shape: EncoderShape,
    layers: int,
    batch: int,
    tokens: int,
    *,
    frozen: int = 0,
    averaged: bool = False,
    on_gpu: bool = False,
) -> float:
    """Bytes of main memory of one trial's worker, training in float32.

    Weights are there as every worker's start (all layers), the trial's own, gradients and AdamW's two moments of those
    that are trained, and their average where there is one. Activations of trained layers are those of Korthikanti et
    al. ("Reducing Activation Recomputation in Large Transformer Models", 2022, equation 2), s b h (34 + 5 a s / h)
    bytes a layer in 16 bits, so twice that here.

    Args:
        shape: Of the start.
        layers: Of the trial's model.
        batch: Documents a pass.
        tokens: Of the longest document.
        frozen: Lowest layers that are not trained, nor are the embeddings then.
        averaged: Whether weights are averaged.
        on_gpu: The trial's own model, and all that grows with it, is on a GPU.
    """
    start, own = 4.0 * shape.parameters(shape.layers), 4.0 * shape.parameters(layers)
    if on_gpu:
        return PROCESS + start + own
    frozen = min(frozen, layers)
    trained = own - (4.0 * shape.parameters(frozen) if frozen else 0.0)
    activations = 2.0 * tokens * batch * (34 * shape.hidden + 5 * shape.heads * tokens) * (layers - frozen)
    return PROCESS + start + (2 if averaged else 1) * own + 3 * trained + activations
