"""Comparison of an exported classifier with the original, on the same texts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from kdh_runtime.graphs import Graph
from numpy.typing import NDArray
from torch import Tensor, nn

from kdh_ray.data.corpus import Texts
from kdh_ray.evaluation.metrics import score
from kdh_ray.inference.classifier import TextClassifier
from kdh_ray.inference.forward import forward
from kdh_ray.inference.logits import Logits, logistic
from kdh_ray.models.classifier import Output

FLOAT_DIFFERENCE = 1e-4  # of logits
MOST_FLIPPED = 0.005  # share of decisions that a lower precision may change; a single one always may
MOST_F1 = 0.005  # by which it may change micro F1, unless a single decision does
LIMITS = (
    f"at most {100 * MOST_FLIPPED:g} % of decisions and {100 * MOST_F1:g} points of micro F1 may change, and a single"
    " decision always may"
)
FEW_DECISIONS = round(1 / MOST_FLIPPED)  # of fewer, one is a larger share than may change
BATCH = 16


@dataclass(frozen=True)
class Agreement:
    """How far an exported classifier agrees with the original.

    Attributes:
        texts: Number of texts compared.
        largest_difference: Of their logits.
        flipped: Share of the decisions (a label of a text) that differ.
        f1_original, f1_exported: Micro F1; None for texts without labels.
        labels: Number of labels, about each of which every text is a decision.
    """

    texts: int
    largest_difference: float
    flipped: float
    f1_original: float | None
    f1_exported: float | None
    labels: int = 1

    @property
    def decisions(self) -> int:
        """Number of decisions compared."""
        return self.texts * self.labels

    @property
    def is_coarse(self) -> bool:
        """Return True if there are too few decisions to tell the share that may change from more."""
        return self.decisions < FEW_DECISIONS

    @property
    def is_exact(self) -> bool:
        """Return True if the logits are the original's up to rounding."""
        return self.largest_difference <= FLOAT_DIFFERENCE

    @property
    def is_close(self) -> bool:
        """Return True if decisions and scores are within :data:`LIMITS`."""
        change = 0.0 if self.f1_original is None else abs(self.f1_original - (self.f1_exported or 0.0))
        is_single = self.flipped * self.decisions < 1.001  # a share, which rounding may have made larger
        return is_single or (self.flipped <= MOST_FLIPPED and change <= MOST_F1)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    def __str__(self) -> str:
        parts = [f"{self.texts} texts", f"logits within {self.largest_difference:.1e}"]
        parts.append(f"{100 * self.flipped:.2f} % of {self.decisions} decisions differ")
        if self.f1_original is not None and self.f1_exported is not None:
            parts.append(f"micro F1 {100 * self.f1_exported:.2f} instead of {100 * self.f1_original:.2f}")
        return ", ".join(parts)


@dataclass(frozen=True)
class Exported:
    """Result of an export.

    Attributes:
        precision: ``float32``, ``int8`` or ``bfloat16``; float32 also if a smaller one changed too much.
        agreement: With the original, of the file that was written.
        refused: Agreement of the smaller graph that was not written; None if there was none.
        bytes: Size of the graph.
        kept_cards: Model cards of an earlier export that were edited, and so are kept.
    """

    precision: str
    agreement: Agreement
    refused: Agreement | None
    bytes: int
    kept_cards: tuple[str, ...] = ()


class Check:
    """Compares exported files with one original, whose logits are computed once.

    Args:
        classifier: The original, in float32 on the CPU.
        texts: Texts to compare on, as users send them.
        targets: (n_texts, n_labels) of 0 and 1, for F1; None without labels.
    """

    def __init__(self, classifier: TextClassifier, texts: Texts, targets: NDArray[np.int8] | None = None) -> None:
        self.classifier = classifier
        self.targets = targets
        self.tokens = classifier.tokens(texts)
        self.original = self._logits(classifier.model)

    def compare(self, run: Graph) -> Agreement:
        """Return the agreement of a graph."""
        exported = self._logits(_Exported(run, self.classifier))
        thresholds = self.classifier.thresholds
        # (n_texts, n_labels) probabilities
        before, after = logistic(self.original.documents), logistic(exported.documents)
        f1: list[float | None] = [None, None]
        if self.targets is not None:
            f1 = [score(self.targets, probabilities, thresholds)["f1_micro"] for probabilities in (before, after)]
        return Agreement(
            len(before),
            float(np.abs(exported.documents - self.original.documents).max(initial=0.0)),
            float(np.mean((before >= thresholds) != (after >= thresholds))),
            f1[0],
            f1[1],
            labels=before.shape[1],
        )

    def _logits(self, model: nn.Module) -> Logits:
        combine = self.classifier.reading.combine
        return forward(model, self.tokens, combine=combine, batch_size=BATCH)  # type: ignore[arg-type]


class _Exported(nn.Module):
    """A graph in the place of the original, so that both go through the same batches and windows."""

    def __init__(self, run: Graph, original: TextClassifier) -> None:
        super().__init__()
        self.run = run
        self.segments = original.model.segment_head is not None
        self.pad_id = original.model.pad_id
        self.hidden = int(original.model.encoder.config.hidden_size)
        self.place = nn.Parameter(torch.zeros(0))  # on the CPU, as the graph is

    def forward(self, input_ids: Tensor, attention_mask: Tensor, segment_numbers: Tensor) -> Output:
        inputs = {"input_ids": input_ids.numpy(), "attention_mask": attention_mask.numpy()}
        if self.segments:
            inputs["segment_numbers"] = segment_numbers.numpy()
            inputs["segment_axis"] = np.arange(max(0, int(segment_numbers.max())) + 1)
        outputs = [torch.from_numpy(array) for array in self.run(inputs)]
        pooled = torch.zeros((len(input_ids), self.hidden))  # not exported
        return Output(outputs[0], outputs[1] if len(outputs) > 1 else None, pooled)
