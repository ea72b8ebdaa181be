"""Tokenised documents with their labels and what teachers said of them, and the batches made from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdh_ray.data.corpus import Split
from kdh_ray.data.tokens import Tokens
from kdh_ray.training.losses import Batch

POOL = 16  # batches among which documents are grouped by length: large enough to save padding, small enough to mix


@dataclass(frozen=True)
class Prediction:
    """What a classifier says of every document of a split, in the split's order.

    Attributes:
        documents: (n_documents, n_labels) float32 logits.
        segments: (n_documents, most segments, n_labels) float32 logits; NaN where there is no such segment or it was
            cut off. None from a classifier without segments.
        pooled: (n_documents, hidden) float32 mean hidden states.
    """

    documents: NDArray[np.float32]
    segments: NDArray[np.float32] | None
    pooled: NDArray[np.float32]

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """(n_documents, n_labels) logistic function of the documents' logits."""
        return _logistic(self.documents)


def _logistic(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits.astype(np.float64))))  # no overflow at either end


@dataclass(frozen=True)
class Documents:
    """One split as training reads it.

    Attributes:
        tokens: Token ids, ragged.
        targets: (n_documents, n_labels) float32 of 0 and 1; NaN of documents without labels.
        segment_targets: One (n_segments, n_labels) array a document, or None.
        teacher: Mean prediction of the teachers, or None.
    """

    tokens: Tokens
    targets: NDArray[np.float32]
    segment_targets: Sequence[NDArray[np.int8]] | None = None
    teacher: Prediction | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    @classmethod
    def of(cls, split: Split, tokens: Tokens, teacher: Prediction | None = None) -> Documents:
        """Join a split's labels with its tokens."""
        targets = split.targets.astype(np.float32)
        return cls(tokens, targets, None if split.segments is None else split.segments.targets, teacher)

    def cut(self, max_tokens: int, tail: int) -> Documents:
        """The same documents with fewer tokens each; see ``Tokens.cut``."""
        return replace(self, tokens=self.tokens.cut(max_tokens, tail))

    def with_unlabelled(self, tokens: Tokens, logits: NDArray[np.float32]) -> Documents:
        """These documents, followed by some of which only the teacher's (n, n_labels) ``logits`` are known."""
        if self.teacher is None:
            raise ValueError("documents without labels teach only what a teacher says of them")
        missing = np.full(logits.shape, np.nan, dtype=np.float32)
        segments = self.segment_targets
        if segments is not None:
            segments = [*segments, *[np.zeros((0, logits.shape[1]), dtype=np.int8)] * len(logits)]
        return Documents(
            self.tokens.followed_by(tokens),
            np.concatenate([self.targets, missing]),
            segments,
            Prediction(
                np.concatenate([self.teacher.documents, logits]),
                None if self.teacher.segments is None else _padded(self.teacher.segments, len(logits)),
                _padded(self.teacher.pooled, len(logits)),
            ),
        )


def _padded(array: NDArray[np.float32], more: int) -> NDArray[np.float32]:
    """``array`` with ``more`` rows of NaN after it."""
    return np.concatenate([array, np.full((more, *array.shape[1:]), np.nan, dtype=np.float32)])


def collate(documents: Documents, indices: Sequence[int], pad_id: int, device: torch.device) -> Batch:
    """The documents at ``indices``, padded to the longest of them, on ``device``."""
    tokens, offsets = documents.tokens, documents.tokens.offsets
    width = max(int(offsets[i + 1] - offsets[i]) for i in indices)
    ids = np.full((len(indices), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(indices), width), dtype=np.int64)
    numbers = np.full((len(indices), width), -1, dtype=np.int64)
    for row, i in enumerate(indices):
        begin, end = int(offsets[i]), int(offsets[i + 1])
        ids[row, : end - begin] = tokens.ids[begin:end]
        numbers[row, : end - begin] = tokens.segments[begin:end]
        mask[row, : end - begin] = 1

    def move(array: NDArray[np.generic] | None) -> Tensor | None:
        return None if array is None else torch.from_numpy(np.ascontiguousarray(array)).to(device)

    chosen, teacher = list(indices), documents.teacher
    return Batch(
        input_ids=torch.from_numpy(ids).to(device),
        attention_mask=torch.from_numpy(mask).to(device),
        segment_numbers=torch.from_numpy(numbers).to(device),
        targets=torch.from_numpy(documents.targets[chosen]).to(device),
        segment_targets=move(_stack(documents.segment_targets, chosen)),
        teacher_logits=None if teacher is None else move(teacher.documents[chosen]),
        teacher_segments=None if teacher is None or teacher.segments is None else move(teacher.segments[chosen]),
        teacher_pooled=None if teacher is None else move(teacher.pooled[chosen]),
    )


def _stack(targets: Sequence[NDArray[np.int8]] | None, indices: list[int]) -> NDArray[np.float32] | None:
    """(n, most segments, n_labels) with NaN where a document has fewer segments."""
    if targets is None:
        return None
    rows = [targets[i] for i in indices]
    stacked = np.full((len(rows), max(1, *(len(row) for row in rows)), rows[0].shape[1]), np.nan, dtype=np.float32)
    for row, values in enumerate(rows):
        stacked[row, : len(values)] = values
    return stacked


def grouped_batches(
    lengths: NDArray[np.int64], batch_size: int, generator: np.random.Generator
) -> list[NDArray[np.int64]]:
    """A random order of all documents in batches of similar length.

    Documents are shuffled, sorted by length within pools of ``POOL`` batches, cut into batches, and the batches
    shuffled again; so padding is saved and the order still differs from epoch to epoch.
    """
    order = generator.permutation(len(lengths))
    batches: list[NDArray[np.int64]] = []
    for start in range(0, len(order), POOL * batch_size):
        pool = order[start : start + POOL * batch_size]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    return [batches[i] for i in generator.permutation(len(batches))]
