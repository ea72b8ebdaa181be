"""Training examples: tokenised documents with their labels and their teacher's logits, and the batches made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdh_ray.data.corpus import Split
from kdh_ray.data.tokens import Tokens
from kdh_ray.inference.forward import pad
from kdh_ray.inference.logits import Logits
from kdh_ray.training.losses import Batch

POOL = 16  # batches among which documents are grouped by length: large enough to save padding, small enough to mix


@dataclass(frozen=True)
class Examples:
    """One split as training reads it.

    Attributes:
        tokens: Token ids, ragged.
        targets: (n_documents, n_labels) float32 of 0 and 1; NaN of documents without labels.
        segment_targets: One (n_segments, n_labels) array per document, or None.
        teacher: Mean logits of the teachers, or None. Its pooled states may be of the first documents only.
        sample: Number of documents without labels that an epoch trains on; None: all.
    """

    tokens: Tokens
    targets: NDArray[np.float32]
    segment_targets: Sequence[NDArray[np.int8]] | None = None
    teacher: Logits | None = None
    sample: int | None = None

    def __len__(self) -> int:
        return len(self.targets)

    @classmethod
    def of(cls, split: Split, tokens: Tokens, teacher: Logits | None = None) -> Examples:
        """Join a split's labels with its tokens."""
        targets = split.targets.astype(np.float32)
        return cls(tokens, targets, None if split.segments is None else split.segments.targets, teacher)

    def cut(self, max_tokens: int) -> Examples:
        """Return the same documents, none longer than ``max_tokens``."""
        return replace(self, tokens=self.tokens.cut(max_tokens))

    def with_unlabelled(self, tokens: Tokens, logits: NDArray[np.float32], sample: int | None = None) -> Examples:
        """Return these documents, followed by some that have only the teacher's (n, n_labels) ``logits``.

        Args:
            tokens: Of the documents without labels.
            logits: Of the teacher, for them.
            sample: Number of them that an epoch trains on; None: all.

        Raises:
            ValueError: If these documents have no teacher.
        """
        if self.teacher is None:
            raise ValueError("documents without labels need a teacher's logits, and so do those before them")
        missing = np.full(logits.shape, np.nan, dtype=np.float32)
        empty = np.zeros((0, logits.shape[1]))  # no segments
        segments, teacher_segments = self.segment_targets, self.teacher.segments
        if segments is not None:
            segments = [*segments, *[empty.astype(np.int8)] * len(logits)]
        if teacher_segments is not None:
            teacher_segments = [*teacher_segments, *[empty.astype(np.float32)] * len(logits)]
        # Pooled states stay those of the first documents: (n, hidden) of NaN would take gigabytes.
        documents = np.concatenate([self.teacher.documents, logits])
        teacher = Logits(documents, teacher_segments, self.teacher.pooled)
        targets = np.concatenate([self.targets, missing])
        return Examples(self.tokens.followed_by(tokens), targets, segments, teacher, sample)

    def of_epoch(self, generator: np.random.Generator, labelled_only: bool) -> NDArray[np.int64]:
        """Return the documents of an epoch: those with labels, and unless ``labelled_only`` a sample of the others."""
        if labelled_only or self.sample is None:
            return np.flatnonzero(self.has_labels) if labelled_only else np.arange(len(self))
        others = np.flatnonzero(~self.has_labels)
        drawn = generator.choice(others, min(self.sample, len(others)), replace=False)
        return np.sort(np.concatenate([np.flatnonzero(self.has_labels), drawn]))

    def epoch_length(self, labelled_only: bool) -> int:
        """Return the number of documents of an epoch."""
        labelled = int(self.has_labels.sum())
        others = 0 if labelled_only else len(self) - labelled
        return labelled + (others if self.sample is None else min(self.sample, others))

    @cached_property
    def has_labels(self) -> NDArray[np.bool_]:
        """(n_documents,) whether a document has labels."""
        return np.asarray(np.isfinite(self.targets).all(axis=1))


def collate(examples: Examples, indices: Sequence[int], pad_id: int, device: torch.device) -> Batch:
    """Return the documents at ``indices`` as one batch, padded to the longest of them, on ``device``."""
    inputs = pad(examples.tokens, indices, pad_id, device)
    chosen = list(indices)

    def move(array: NDArray[np.generic] | None) -> Tensor | None:
        return None if array is None else torch.from_numpy(np.ascontiguousarray(array)).to(device)

    teacher = examples.teacher
    return Batch(
        input_ids=inputs.input_ids,
        attention_mask=inputs.attention_mask,
        segment_numbers=inputs.segment_numbers,
        targets=torch.from_numpy(examples.targets[chosen]).to(device),
        segment_targets=move(_stack(examples.segment_targets, chosen)),
        teacher_logits=None if teacher is None else move(teacher.documents[chosen]),
        teacher_segments=None if teacher is None else move(_stack(teacher.segments, chosen)),
        teacher_pooled=None if teacher is None else move(_rows_or_nan(teacher.pooled, chosen)),
    )


def _rows_or_nan(array: NDArray[np.float32], indices: list[int]) -> NDArray[np.float32]:
    """Return (n, width) rows; NaN, which losses leave out, for those after the array's last."""
    known = [place for place, index in enumerate(indices) if index < len(array)]
    rows = np.full((len(indices), array.shape[1]), np.nan, dtype=np.float32)
    rows[known] = array[[indices[place] for place in known]]
    return rows


def _stack(
    arrays: Sequence[NDArray[np.int8] | NDArray[np.float32]] | None, indices: list[int]
) -> NDArray[np.float32] | None:
    """Return (n, most segments, n_labels) with NaN where a document has fewer segments."""
    if arrays is None:
        return None
    rows = [arrays[i] for i in indices]  # each (n_segments of the document, n_labels)
    # At least one segment, so that a batch of documents without any has a row of NaN and no empty axis.
    stacked = np.full((len(rows), max(1, *(len(row) for row in rows)), rows[0].shape[1]), np.nan, dtype=np.float32)
    for row, values in enumerate(rows):
        stacked[row, : len(values)] = values
    return stacked


def grouped_batches(
    lengths: NDArray[np.int64], batch_size: int, generator: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Return a random order of all documents in batches of similar length.

    Documents are shuffled, sorted by length within pools of ``POOL`` batches and cut into batches, and the batches are
    shuffled again. So padding is saved, and the order still differs from epoch to epoch.
    """
    order = generator.permutation(len(lengths))  # (n_documents,)
    batches: list[NDArray[np.int64]] = []
    for start in range(0, len(order), POOL * batch_size):
        pool = order[start : start + POOL * batch_size]
        # A stable sort leaves documents of one length shuffled, in an order that does not depend on the machine.
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    return [batches[i] for i in generator.permutation(len(batches))]
