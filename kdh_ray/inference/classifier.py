"""A trained classifier that reads text: the one way from a raw text to labels and probabilities."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kdh_ray import hardware
from kdh_ray.data.corpus import Spans, Texts
from kdh_ray.data.reading import Reading
from kdh_ray.data.tokens import Tokens
from kdh_ray.errors import ConfigError, DataError
from kdh_ray.inference.forward import Progress, forward
from kdh_ray.inference.logits import Logits
from kdh_ray.models.attention import select_attention
from kdh_ray.models.checkpoint import Card, load_checkpoint
from kdh_ray.models.encoders import load_tokenizer
from kdh_ray.models.trial_pass import usable_precision
from kdh_ray.storage import fetched

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerBase

    from kdh_ray.models.classifier import Classifier


@dataclass(frozen=True)
class Prediction:
    """Labels and probabilities of some texts, in their order.

    Attributes:
        label_names: Of the columns of ``probabilities``.
        labels: For each text, the labels whose probability reaches their threshold; none for a blank text.
        probabilities: (n_texts, n_labels) float64 in 0..1.
        logits: Logits of texts and of their parts.
        spans: Character ranges of each text's parts; None if the classifier reads texts whole.
    """

    label_names: tuple[str, ...]
    labels: list[list[str]]
    probabilities: NDArray[np.float64]
    logits: Logits = field(repr=False)
    spans: Spans | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def evidence(self) -> list[dict[str, tuple[int, int]]]:
        """For each text, its labels with the character range of the part that speaks most for each of them.

        Empty dictionaries from a classifier without segments, and for texts without parts, such as an empty one.
        """
        found: list[dict[str, tuple[int, int]]] = []
        for row, labels in enumerate(self.labels):
            spans = None if self.spans is None else self.spans[row]
            segments = None if self.logits.segments is None else self.logits.segments[row]
            if spans is None or segments is None or not len(spans) or not len(segments):
                found.append({})
                continue
            scores = np.nan_to_num(segments, nan=-np.inf)  # (n_segments, n_labels)
            columns = {label: self.label_names.index(label) for label in labels}
            best = {label: spans[int(np.argmax(scores[:, column]))] for label, column in columns.items()}
            found.append({label: (int(begin), int(end)) for label, (begin, end) in best.items()})
        return found

    def frame(self) -> pd.DataFrame:
        """Return a table with a row per text: ``labels``, and ``probability.LABEL`` for each label."""
        import pandas as pd

        columns = {f"probability.{name}": self.probabilities[:, j] for j, name in enumerate(self.label_names)}
        return pd.DataFrame({"labels": self.labels, **columns})


class TextClassifier:
    """A classifier with its tokenizer and its way of reading text.

    Stage scoring, teacher logits, ``kdh-ray predict``, ``kdh-ray evaluate`` and Python users all read text through
    it, so that the classifier that is scored is the one that is shipped.

    Args:
        model: Moved to ``device``.
        tokenizer: The encoder's own.
        labels: Names, in the order of the logits.
        thresholds: (n_labels,) probability from which a label counts as present.
        reading: How texts become the model's input.
        precision: ``float32`` or ``bfloat16`` (under autocast), which an encoder that can't use it replaces by float32.
        device: ``cpu`` or ``cuda``.
    """

    def __init__(
        self,
        model: Classifier,
        tokenizer: PreTrainedTokenizerBase,
        labels: Sequence[str],
        thresholds: Sequence[float],
        reading: Reading,
        *,
        precision: str = "float32",
        device: str = "cpu",
    ) -> None:
        precision = usable_precision(model.encoder, precision, device)
        select_attention(model.encoder, device, precision)
        self.model = model.to(device)
        self.tokenizer = tokenizer
        self.labels = tuple(labels)
        self.thresholds = np.asarray(thresholds, dtype=np.float64)
        self.reading = reading
        self.precision = precision
        self.card: Card | None = None

    @classmethod
    def load(cls, folder: Path, *, precision: str = "float32", device: str = "cpu") -> TextClassifier:
        """Read a checkpoint.

        Raises:
            CheckpointError: If it is missing, corrupt or foreign.
        """
        model, card = load_checkpoint(folder)
        tokenizer = load_tokenizer(str(folder))
        classifier = cls(
            model, tokenizer, card.labels, card.thresholds, card.reading, precision=precision, device=device
        )
        classifier.card = card
        return classifier

    @property
    def note(self) -> str:
        """Warning about the checkpoint; empty if there is nothing to warn of."""
        return "" if self.card is None else self.card.note

    def predict(self, texts: Sequence[str], batch_size: int = 32) -> Prediction:
        """Return labels, probabilities and evidence for raw texts.

        Args:
            texts: Strings of any length; longer ones than the encoder reads at once are read in windows.
            batch_size: Texts per forward pass.

        Raises:
            DataError: If ``texts`` is not a sequence, such as one string, or an item is not Unicode text.

        See :func:`load_classifier` for an example.
        """
        items = _checked(texts)
        documents = self.reading.divided(Texts.numbered(items))
        logits = self.logits(documents, batch_size=batch_size)
        probabilities = logits.probabilities
        has_words = np.array([bool(text.strip()) for text in items], dtype=bool)
        present = (probabilities >= self.thresholds) & has_words[:, None]  # (n_texts, n_labels)
        labels = [[self.labels[j] for j in np.flatnonzero(row)] for row in present]
        return Prediction(self.labels, labels, probabilities, logits, documents.spans)

    def tokens(self, documents: Texts, cache: Path | None = None) -> Tokens:
        """Return the windows in which the classifier reads the documents."""
        return self.reading.tokens(documents, self.tokenizer, cache)

    def logits(
        self,
        documents: Texts,
        *,
        cache: Path | None = None,
        batch_size: int = 32,
        progress: Progress | None = None,
    ) -> Logits:
        """Return the logits of documents, which are divided by the classifier's segmenter if they have no parts."""
        if len(documents) == 0:
            hidden = int(self.model.encoder.config.hidden_size)
            segments: list[NDArray[np.float32]] | None = None if self.model.segment_head is None else []
            empty = np.zeros((0, len(self.labels)), dtype=np.float32)
            return Logits(empty, segments, np.zeros((0, hidden), dtype=np.float32))
        return forward(
            self.model, self.tokens(documents, cache), combine=self.reading.combine, precision=self.precision,
            batch_size=batch_size, progress=progress,
        )  # fmt: skip


def load_classifier(
    checkpoint: str | os.PathLike[str], *, precision: str = "auto", device: str | None = None
) -> TextClassifier:
    """Load a trained classifier from a folder or a bucket.

    Args:
        checkpoint: A stage's ``checkpoint`` folder, or its place in a bucket (``s3://...``).
        precision: ``auto``, ``float32`` or ``bfloat16``; ``auto`` takes bfloat16 if the hardware multiplies it fast.
        device: ``cpu`` or ``cuda``; a GPU if there is one and none is named.

    Raises:
        CheckpointError: If the checkpoint is missing, corrupt or foreign.
        UnavailableError: If the bucket can't be read.
        ConfigError: If the precision is another word, or the classifier can't be run in it.

    Example:
        >>> classifier = load_classifier("runs/my/stages/student/checkpoint")
        >>> prediction = classifier.predict(["Denies having chills.", "Has had a dry cough."])
        >>> prediction.label_names
        ('pain', 'fever', 'cough', 'fatigue')
        >>> prediction.probabilities.shape, len(prediction.labels)
        ((2, 4), 2)
    """
    chosen = hardware.precision(precision)
    if device is None:
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
    with fetched(os.fspath(checkpoint)) as folder:
        classifier = TextClassifier.load(folder, precision=chosen, device=device)
    if precision not in ("auto", classifier.precision):
        kind = classifier.model.encoder.config.model_type
        raise ConfigError([f"precision: {checkpoint} ({kind}) can't be run in {precision}; leave it at auto"])
    return classifier


def _checked(texts: Any) -> list[str]:
    if isinstance(texts, str | bytes):
        raise DataError("predict takes a sequence of texts; got one: put it into a list")
    if not isinstance(texts, Iterable) or isinstance(texts, Mapping | Set) or getattr(texts, "ndim", 1) != 1:
        kind = type(texts).__name__  # a table's items are its columns' names, and a set has no order
        raise DataError(f"predict takes a sequence of texts, such as a list or a table's column; got {kind}")
    checked = list(texts)
    for number, text in enumerate(checked):
        if not isinstance(text, str):
            raise DataError(f"a text must be a string; got {type(text).__name__} at position {number}")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise DataError(f"text {number} holds half a surrogate pair, which is not Unicode text") from None
    return checked
