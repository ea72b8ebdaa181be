"""The memory that a training takes, estimated from the encoder's configuration before anything is loaded."""

from __future__ import annotations

from kdh_ray.config import RunConfig, SearchSpace, highest, lowest, ranges_of
from kdh_ray.models.encoders import EncoderShape, encoder_shape

PROCESS = 0.7 * 2**30
"""Bytes of a worker that has loaded Ray, torch and transformers, but no model."""
_FLOAT32 = 4.0  # bytes


def memory_of_stage(config: RunConfig, name: str, on_gpu: bool = False, space: SearchSpace | None = None) -> float:
    """Estimate the bytes of main memory that the training of a stage needs, at most, over the ranges in ``space``."""
    space, stage = space or {}, config.stages[name]

    shape = encoder_shape(config.origin(stage.start)[0])
    batch = int(highest(space, "batch_size", stage.batch_size))
    tokens = int(highest(space, "max_tokens", stage.max_tokens or config.data.max_tokens))
    return estimate(
        shape,
        layers=int(highest(space, "layers", stage.layers or 0)) or shape.layers,
        batch=-(-batch // stage.accumulate),  # documents per pass, rounded up
        tokens=min(tokens, shape.positions),
        frozen=int(lowest(space, "freeze", stage.freeze)),
        averaged=bool(ranges_of(space, "average")) or stage.average > 0,
        on_gpu=on_gpu,
    )


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
    """Estimate the bytes of main memory of one worker, which trains in float32.

    The worker has the start's weights (all layers), the trial's own weights, gradients and AdamW's two moments of the
    weights that are trained, and the average of the weights if there is one. Activations of trained layers follow
    Korthikanti et al. ("Reducing Activation Recomputation in Large Transformer Models", 2022).

    Args:
        shape: Shape of the start.
        layers: Layers of the trial's model.
        batch: Documents per pass.
        tokens: Tokens of the longest document.
        frozen: Number of lowest layers that are not trained. If it is above 0, the embeddings are not trained either.
        averaged: True if weights are averaged.
        on_gpu: True if the trial's own model, and all that grows with it, is on a GPU.
    """
    start = _FLOAT32 * shape.parameters(shape.layers)
    own = _FLOAT32 * shape.parameters(layers)
    if on_gpu:
        return PROCESS + start + own
    frozen = min(frozen, layers)
    trained = own - (_FLOAT32 * shape.parameters(frozen) if frozen else 0.0)
    # eq. 2: s b h (34 + 5 a s / h) bytes per layer in 16 bits, so twice that in 32
    activations = 2.0 * tokens * batch * (34 * shape.hidden + 5 * shape.heads * tokens) * (layers - frozen)
    return PROCESS + start + (2 if averaged else 1) * own + 3 * trained + activations
