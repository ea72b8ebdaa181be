"""A classifier's raw output for a sequence of documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Logits:
    """A classifier's logits for every document of a sequence, in its order.

    Attributes:
        documents: (n_documents, n_labels) float32.
        segments: One (n_segments, n_labels) float32 array per document; NaN for a segment that was cut off. None from a
            classifier without segments.
        pooled: (n_documents, hidden) float32 pooled hidden states.
    """

    documents: NDArray[np.float32]
    segments: Sequence[NDArray[np.float32]] | None
    pooled: NDArray[np.float32]

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """(n_documents, n_labels) logistic function of the documents' logits."""
        return logistic(self.documents)


def logistic(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return 1 / (1 + exp(-logits)) in float64, without overflow at either end."""
    # 1 / (1 + exp(-x)) = (1 + tanh(x / 2)) / 2
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits.astype(np.float64))))


def mean_logits(teachers: Sequence[Logits]) -> Logits:
    """Return the teachers' mean logits: an ensemble is one teacher (Hinton et al., 2015, section 3).

    Pooled states are averaged if their widths agree; otherwise the first teacher's are used. A segment has logits if
    every teacher that reads segments has seen it.
    """
    pooled = teachers[0].pooled
    if len({teacher.pooled.shape[1] for teacher in teachers}) == 1:
        pooled = np.asarray(np.mean([teacher.pooled for teacher in teachers], axis=0, dtype=np.float32))
    documents = np.asarray(np.mean([teacher.documents for teacher in teachers], axis=0))
    by_teacher = [teacher.segments for teacher in teachers if teacher.segments is not None]
    segments = [_mean_segments(arrays) for arrays in zip(*by_teacher, strict=True)] if by_teacher else None
    return Logits(documents, segments, pooled)


def _mean_segments(arrays: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    common = min(map(len, arrays))  # a teacher that cuts documents lacks the last ones
    return np.asarray(np.mean([array[:common] for array in arrays], axis=0, dtype=np.float32))
