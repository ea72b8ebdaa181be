"""An exported classifier at work."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdh_runtime.errors import FolderError
from kdh_runtime.folder import Config, read_config
from kdh_runtime.graphs import Graph, open_graph
from kdh_runtime.text import OUTSIDE, Reader, Window, checked

MOST_TOKENS = 1024  # per pass: a CPU is fastest while its caches hold the hidden states, and memory stays small
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Prediction:
    """Labels and probabilities of some texts, in their order.

    Attributes:
        label_names: Of the columns of ``probabilities`` and ``logits``.
        labels: For each text, the labels whose probability reaches their threshold; none for a blank text.
        probabilities: (n_texts, n_labels) float64 in 0..1.
        logits: (n_texts, n_labels) float32.
        evidence: For each text, its labels with the character range of the part that speaks most for each of them.
            Empty dictionaries from a classifier without segments, and for texts without parts, such as an empty one.
    """

    label_names: tuple[str, ...]
    labels: list[list[str]]
    probabilities: NDArray[np.float64]
    logits: Floats = field(repr=False)
    evidence: list[dict[str, tuple[int, int]]] = field(repr=False)

    def __len__(self) -> int:
        return len(self.labels)


class Classifier:
    """An exported classifier. Threads may share one.

    Args:
        config: From the folder's ``config.json``.
        reader: Turns texts into the graph's input.
        graph: From the graph's inputs to its outputs.
    """

    def __init__(self, config: Config, reader: Reader, graph: Graph) -> None:
        self.config = config
        self.labels = config.labels
        self.thresholds = np.array(config.thresholds, dtype=np.float64)
        self._reader = reader
        self._graph = graph

    def predict(self, texts: Sequence[str], batch_size: int = 32) -> Prediction:
        """Return labels, probabilities and evidence for raw texts.

        Args:
            texts: Strings of any length; longer ones than the graph reads at once are read in windows.
            batch_size: Windows per pass, at most.

        Raises:
            TextError: If ``texts`` is not a sequence, such as one string, or an item is not Unicode text.
        """
        items = checked(texts)
        spans = self._reader.spans(items)
        logits, segments = self._logits(self._reader.windows(items, spans), len(items), batch_size)
        probabilities = 0.5 * (1.0 + np.tanh(0.5 * logits.astype(np.float64)))  # logistic, without overflow
        has_words = np.array([bool(text.strip()) for text in items], dtype=bool)
        present = [np.flatnonzero(row) for row in (probabilities >= self.thresholds) & has_words[:, None]]
        labels = [[self.labels[j] for j in columns] for columns in present]
        evidence: list[dict[str, tuple[int, int]]] = [{} for _ in items]
        if spans is not None and segments is not None:
            for row, columns in enumerate(present):
                evidence[row] = self._evidence(columns, spans[row], segments[row])
        return Prediction(self.labels, labels, probabilities, logits, evidence)

    def _evidence(
        self, columns: NDArray[np.int64], spans: NDArray[np.int32], segments: Floats
    ) -> dict[str, tuple[int, int]]:
        """Return the span of the segment with the highest logit for each label."""
        if not len(spans) or not len(segments):
            return {}
        scores = np.nan_to_num(segments, nan=-np.inf)  # (n_segments, n_labels)
        best = {self.labels[j]: spans[int(np.argmax(scores[:, j]))] for j in columns}
        return {label: (int(begin), int(end)) for label, (begin, end) in best.items()}

    def _logits(
        self, windows: Sequence[Window], n_documents: int, batch_size: int
    ) -> tuple[Floats, list[Floats] | None]:
        """Return (n_documents, n_labels) logits, and those of each document's segments if the graph has segments."""
        rows = np.zeros((len(windows), len(self.labels)), dtype=np.float32)
        segments: list[Floats] = [np.zeros((0, len(self.labels)), dtype=np.float32)] * len(windows)
        for numbers in _batches(windows, batch_size):
            outputs = self._graph(self._inputs([windows[i] for i in numbers]))
            rows[numbers] = outputs[0]
            for place, i in enumerate(numbers if self.config.segments else ()):
                segments[i] = _present(outputs[1][place])
        owners = np.array([window.document for window in windows], dtype=np.int64)
        begins = np.searchsorted(owners, np.arange(n_documents))
        if not n_documents:
            return rows, [] if self.config.segments else None
        ends = [*begins[1:], len(windows)]
        documents = self._combined(rows, begins)
        if not self.config.segments:
            return documents, None
        first = [window.first_segment for window in windows]
        return documents, [_joined(segments[a:b], first[a:b]) for a, b in zip(begins, ends, strict=True)]

    def _inputs(self, windows: Sequence[Window]) -> dict[str, NDArray[Any]]:
        """Return the graph's inputs: windows padded on the right to the longest."""
        shape = len(windows), max(1, *(len(window.ids) for window in windows))
        ids = np.full(shape, self.config.pad_id, dtype=np.int64)
        mask = np.zeros(shape, dtype=np.int64)
        numbers = np.full(shape, OUTSIDE, dtype=np.int64)
        for place, window in enumerate(windows):
            length = len(window.ids)
            ids[place, :length] = window.ids
            mask[place, : max(1, length)] = 1  # a text without tokens is read as one token of padding
            numbers[place, :length] = window.segments
        inputs: dict[str, NDArray[Any]] = {"input_ids": ids, "attention_mask": mask}
        if self.config.segments:
            inputs |= {"segment_numbers": numbers, "segment_axis": np.arange(max(0, int(numbers.max())) + 1)}
        return inputs

    def _combined(self, rows: Floats, begins: NDArray[np.int64]) -> Floats:
        """Return the maximum or the mean of each document's rows, which begin at ``begins``."""
        if len(rows) == len(begins):
            return rows
        if self.config.combine == "max":
            return np.asarray(np.maximum.reduceat(rows, begins, axis=0))
        counts = np.diff([*begins, len(rows)])
        return np.asarray(np.add.reduceat(rows, begins, axis=0) / counts[:, None], dtype=np.float32)


def load(folder: str | os.PathLike[str], *, threads: int | None = None) -> Classifier:
    """Load a classifier that ``kdh-ray export`` wrote.

    Args:
        folder: Its files are checked against ``SHA256SUMS``.
        threads: CPU threads per pass; as many as the machine has cores if None.

    Raises:
        FolderError: If the folder is not an exported classifier, or a file of it was changed.

    Example:
        >>> from kdh_runtime import load
        >>> load("student").predict(["Curcumin induced apoptosis."]).labels  # doctest: +SKIP
        [['Resisting cell death']]
    """
    config = read_config(folder)
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
    except Exception as error:  # tokenizers raises plain Exception
        raise FolderError(f"{folder}: tokenizer.json can't be read: {error}") from None
    tokenizer.no_truncation()  # the file keeps the settings of the last call before it was saved
    tokenizer.no_padding()
    return Classifier(config, Reader(tokenizer, config), open_graph(Path(folder), config, threads))


def _batches(windows: Sequence[Window], batch_size: int) -> list[list[int]]:
    """Return the numbers of the windows of each pass, grouped by length."""
    lengths = np.array([len(window.ids) for window in windows], dtype=np.int64)
    order = np.argsort(lengths, kind="stable")
    batches = []
    done = 0
    while done < len(order):
        rows = order[done : done + batch_size]
        # The last row is the longest, and all are padded to it.
        fitting = [n for n in range(1, len(rows) + 1) if n * lengths[rows[n - 1]] <= MOST_TOKENS]
        rows = rows[: fitting[-1] if fitting else 1]
        batches.append([int(i) for i in rows])
        done += len(rows)
    return batches


def _present(dense: Floats) -> Floats:
    """Return a window's segments up to its last one, with NaN for those without tokens."""
    present: NDArray[np.bool_] = np.asarray(np.isfinite(dense).all(axis=-1))  # (n_segments,)
    count = int(np.flatnonzero(present)[-1]) + 1 if present.any() else 0
    return np.where(present[:count, None], dense[:count], np.float32(np.nan))


def _joined(windows: Sequence[Floats], first: Sequence[int]) -> Floats:
    """Return a document's (n_segments, n_labels) logits: of a segment in several windows, the highest."""
    if len(windows) == 1:
        return windows[0]
    count = max(start + len(values) for start, values in zip(first, windows, strict=True))
    joined = np.full((count, windows[0].shape[1]), np.nan, dtype=np.float32)
    for start, values in zip(first, windows, strict=True):
        own = joined[start : start + len(values)]
        joined[start : start + len(values)] = np.fmax(own, values)
    return joined
