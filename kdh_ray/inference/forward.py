"""A classifier's forward pass over whole splits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from kdh_ray import distributed as world
from kdh_ray.models.classifier import Classifier
from kdh_ray.training.examples import Documents, Prediction, collate

Progress = Callable[[int, int], None]


def predict(
    model: Classifier,
    documents: Documents,
    *,
    precision: str = "float32",
    batch_size: int = 32,
    progress: Progress | None = None,
) -> Prediction:
    """Logits of every document, in order; the work is divided over the workers and every worker gets all of it.

    Args:
        model: Left in the mode (training or evaluation) that it came in.
        documents: Labels and teachers in it are not read.
        precision: ``bfloat16`` runs under autocast.
        batch_size: Documents a pass; grouped by length.
        progress: Called with (documents done, documents to do) of this worker.
    """
    order = np.argsort(documents.tokens.lengths, kind="stable")[world.rank() :: world.size()]
    training = model.training
    model.eval()
    parts: list[tuple[NDArray[np.int64], Prediction]] = []
    try:
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            parts.append((chosen, _forward(model, documents, chosen, precision)))
            if progress is not None:
                progress(min(start + batch_size, len(order)), len(order))
    finally:
        model.train(training)
    return _join([part for worker in world.gather(parts) for part in worker], len(documents))


def _forward(model: Classifier, documents: Documents, chosen: NDArray[np.int64], precision: str) -> Prediction:
    device = next(model.parameters()).device
    batch = collate(documents, [int(i) for i in chosen], model.pad_id, device)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        output = model(batch.input_ids, batch.attention_mask, batch.segment_numbers)
    segments = None
    if output.segments is not None:
        segments = output.segments.cpu().numpy()
        segments[~np.isfinite(segments)] = np.nan
    return Prediction(output.documents.cpu().numpy(), segments, output.pooled.float().cpu().numpy())


def _join(parts: list[tuple[NDArray[np.int64], Prediction]], count: int) -> Prediction:
    first = parts[0][1]
    documents = np.empty((count, first.documents.shape[1]), dtype=np.float32)
    pooled = np.empty((count, first.pooled.shape[1]), dtype=np.float32)
    segments = None
    if first.segments is not None:
        most = max(part.segments.shape[1] for _, part in parts if part.segments is not None)
        segments = np.full((count, most, documents.shape[1]), np.nan, dtype=np.float32)
    for chosen, part in parts:
        documents[chosen], pooled[chosen] = part.documents, part.pooled
        if segments is not None and part.segments is not None:
            segments[chosen, : part.segments.shape[1]] = part.segments
    return Prediction(documents, segments, pooled)


def mean_prediction(predictions: list[Prediction]) -> Prediction:
    """The teachers' mean logits: an ensemble is one teacher (Hinton et al., 2015, section 3).

    Pooled states are averaged where their widths agree, else the first teacher's are taken; a segment is kept where
    every teacher that reads segments saw it.
    """
    segmented = [p.segments for p in predictions if p.segments is not None]
    segments = None
    if segmented:
        common = min(s.shape[1] for s in segmented)
        segments = np.asarray(np.mean([s[:, :common] for s in segmented], axis=0, dtype=np.float32))
    widths = {p.pooled.shape[1] for p in predictions}
    pooled = predictions[0].pooled
    if len(widths) == 1:
        pooled = np.asarray(np.mean([p.pooled for p in predictions], axis=0, dtype=np.float32))
    return Prediction(np.asarray(np.mean([p.documents for p in predictions], axis=0)), segments, pooled)
