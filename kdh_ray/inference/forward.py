"""A classifier's forward pass over tokenised documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdh_ray import distributed
from kdh_ray.data.reading import Combination
from kdh_ray.data.tokens import OUTSIDE, Tokens
from kdh_ray.inference.logits import Logits
from kdh_ray.models.classifier import Classifier

Progress = Callable[[int, int], None]
MOST_TOKENS = 32 * 512  # tokens per pass: encoders that read thousands at once get fewer documents


@dataclass(frozen=True)
class Inputs:
    """Padded rows of tokens, as a classifier takes them.

    Attributes:
        input_ids, attention_mask, segment_numbers: (n_rows, n_tokens); see ``Classifier.forward``.
        first_segments: (n_rows,) number that segment 0 of a row has in its document.
    """

    input_ids: Tensor
    attention_mask: Tensor
    segment_numbers: Tensor
    first_segments: NDArray[np.int64]


def pad(tokens: Tokens, rows: Sequence[int], pad_id: int, device: torch.device) -> Inputs:
    """Return the given rows, padded on the right to the longest of them, on ``device``.

    Segments are numbered from 0 in each row, so that a late window of a long document has few of them. A row without
    tokens is read as one token of padding: a blank text, from a tokenizer without special tokens.
    """
    offsets = tokens.offsets  # (n_rows + 1,): row i is [offsets[i], offsets[i + 1])
    width = max(1, *(int(offsets[i + 1] - offsets[i]) for i in rows))
    ids = np.full((len(rows), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(rows), width), dtype=np.int64)
    numbers = np.full((len(rows), width), OUTSIDE, dtype=np.int64)
    first = np.zeros(len(rows), dtype=np.int64)
    for place, i in enumerate(rows):
        begin, end = int(offsets[i]), int(offsets[i + 1])
        ids[place, : end - begin] = tokens.ids[begin:end]
        mask[place, : max(1, end - begin)] = 1
        own = tokens.segments[begin:end]
        first[place] = own[own != OUTSIDE].min(initial=np.iinfo(np.int32).max) if (own != OUTSIDE).any() else 0
        numbers[place, : end - begin] = np.where(own == OUTSIDE, OUTSIDE, own - first[place])
    input_ids, attention_mask, segment_numbers = (torch.from_numpy(array).to(device) for array in (ids, mask, numbers))
    return Inputs(input_ids, attention_mask, segment_numbers, first)


def forward(
    model: Classifier,
    tokens: Tokens,
    *,
    combine: Combination = "max",
    precision: str = "float32",
    batch_size: int = 32,
    progress: Progress | None = None,
) -> Logits:
    """Return the logits of every document, in order. Workers share the work, and each gets all of the result.

    Args:
        model: Left in the mode (training or evaluation) in which it came.
        tokens: Documents, one or more, whole or in windows.
        combine: How the logits of a document's windows become the document's.
        precision: ``bfloat16`` runs under autocast.
        batch_size: Rows per pass, grouped by length.
        progress: Called with (rows done, rows to do) of this worker.
    """
    # Rows by length, dealt to the workers in turn, so that each has its share of the long ones.
    order = np.argsort(tokens.lengths, kind="stable")[distributed.rank() :: distributed.size()]
    training = model.training
    model.eval()
    parts: list[_Part] = []
    done = 0
    try:
        while done < len(order):
            rows = order[done : done + batch_size]
            longest = max(1, int(tokens.lengths[rows[-1]]))  # the last row is the longest
            rows = rows[: max(1, MOST_TOKENS // longest)]
            parts.append(_pass(model, tokens, rows, precision))
            done += len(rows)
            if progress is not None:
                progress(done, len(order))
    finally:
        model.train(training)
    return _joined([part for worker in distributed.gather(parts) for part in worker], tokens, combine)


@dataclass(frozen=True)
class _Part:
    """The output for some rows; ``segments`` holds one (n_segments, n_labels) array per row."""

    rows: NDArray[np.int64]
    documents: NDArray[np.float32]
    segments: list[NDArray[np.float32]] | None
    pooled: NDArray[np.float32]
    first_segments: NDArray[np.int64]


def _pass(model: Classifier, tokens: Tokens, rows: NDArray[np.int64], precision: str) -> _Part:
    device = next(model.parameters()).device
    inputs = pad(tokens, [int(i) for i in rows], model.pad_id, device)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        output = model(inputs.input_ids, inputs.attention_mask, inputs.segment_numbers)
    segments = None
    if output.segments is not None:
        dense = output.segments.float().cpu().numpy()  # (n_rows, n_segments, n_labels)
        present = np.isfinite(dense).all(-1)  # (n_rows, n_segments)
        counts = [int(np.flatnonzero(line)[-1]) + 1 if line.any() else 0 for line in present]
        dense[~present] = np.nan  # a segment that the row lacks, as in Logits
        segments = [values[:count].copy() for values, count in zip(dense, counts, strict=True)]
    documents, pooled = output.documents.float().cpu().numpy(), output.pooled.float().cpu().numpy()
    return _Part(rows, documents, segments, pooled, inputs.first_segments)


def _joined(parts: list[_Part], tokens: Tokens, combine: Combination) -> Logits:
    """Put the rows of all parts in order and combine the windows of each document."""
    n_rows, n_labels, hidden = len(tokens), parts[0].documents.shape[1], parts[0].pooled.shape[1]
    documents = np.zeros((n_rows, n_labels), dtype=np.float32)
    pooled = np.zeros((n_rows, hidden), dtype=np.float32)
    segments: list[NDArray[np.float32]] = [np.zeros((0, n_labels), dtype=np.float32)] * n_rows
    first = np.zeros(n_rows, dtype=np.int64)
    for part in parts:
        documents[part.rows], pooled[part.rows], first[part.rows] = part.documents, part.pooled, part.first_segments
        for place, row in enumerate(part.rows if part.segments is not None else ()):
            segments[row] = part.segments[place]  # type: ignore[index]
    has_segments = parts[0].segments is not None
    if tokens.n_documents < n_rows:
        # (n_documents,) first row of each document; its windows follow each other.
        begins = np.searchsorted(tokens.documents, np.arange(tokens.n_documents))
        if has_segments:
            ends = [*begins[1:], n_rows]
            segments = [_over_windows(segments[a:b], first[a:b]) for a, b in zip(begins, ends, strict=True)]
        documents = _combined(documents, begins, combine)
        pooled = _combined(pooled, begins, "mean")
    return Logits(documents, segments if has_segments else None, pooled)


def _combined(rows: NDArray[np.float32], begins: NDArray[np.int64], combine: Combination) -> NDArray[np.float32]:
    """Return the maximum or the mean of each document's rows, which begin at ``begins``."""
    if combine == "max":
        return np.asarray(np.maximum.reduceat(rows, begins, axis=0))
    # (n_documents,) windows per document
    counts = np.diff([*begins, len(rows)])
    return np.asarray(np.add.reduceat(rows, begins, axis=0) / counts[:, None], dtype=np.float32)


def _over_windows(windows: Sequence[NDArray[np.float32]], first: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return a document's (n_segments, n_labels) logits: of a segment in several windows, the highest."""
    if len(windows) == 1:
        return windows[0]
    count = max(int(start) + len(values) for start, values in zip(first, windows, strict=True))
    found = np.full((count, windows[0].shape[1]), np.nan, dtype=np.float32)
    for start, values in zip(first, windows, strict=True):
        own = found[start : start + len(values)]
        found[start : start + len(values)] = np.fmax(own, values)  # a number wins over NaN
    return found
