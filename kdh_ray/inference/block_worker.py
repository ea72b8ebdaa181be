"""The worker of a batch prediction: it loads the model once, then reads, classifies and writes block after block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kdh_ray.data.prediction_files import PredictionFolder
from kdh_ray.data.prediction_rows import LOGIT, PROBABILITY
from kdh_ray.data.text_blocks import Documents, TextBlock, read_block, read_documents
from kdh_ray.errors import DataError, UserError
from kdh_ray.hardware import limit_kernel_caches

if TYPE_CHECKING:
    import pyarrow as pa

    from kdh_ray.inference.classifier import Prediction


@dataclass(frozen=True)
class BlockTask:
    """The part of a batch prediction that all workers share.

    Attributes:
        checkpoint: Folder or bucket.
        output: Where the blocks are written.
        blocks: Blocks of all files.
        text_column, id_column: See ``read_block``.
        logits: Whether logits are written too.
        batch_size: Documents per forward pass.
        precision: As configured.
        strict: A faulty document ends the prediction.
        threads: Threads of each worker; None leaves torch's own number.
    """

    checkpoint: str
    output: PredictionFolder
    blocks: tuple[TextBlock, ...]
    text_column: str
    id_column: str | None
    logits: bool
    batch_size: int
    precision: str
    strict: bool
    threads: int | None = None


class BlockWorker:
    """Predicts blocks of documents. Texts stay inside it: only ids, probabilities and logits leave."""

    def __init__(self, task: BlockTask) -> None:
        import torch

        from kdh_ray.inference.classifier import load_classifier

        limit_kernel_caches()
        if task.threads is not None:
            torch.set_num_threads(task.threads)
        self.task = task
        self.folder = task.output
        self.classifier = load_classifier(task.checkpoint, precision=task.precision)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Predict the blocks with these numbers; user errors are returned, for the caller to raise."""
        results = [self._result(int(number)) for number in batch["number"]]
        return {name: np.array([result[name] for result in results]) for name in results[0]}

    def _result(self, number: int) -> dict[str, int | str]:
        documents, faulty, error = 0, 0, ""
        try:
            documents, faulty = self.predict(number)
        except UserError as raised:
            error = str(raised)
        return {
            "number": number, "documents": documents, "faulty": faulty, "precision": self.classifier.precision,
            "error": error,
        }  # fmt: skip

    def predict(self, number: int) -> tuple[int, int]:
        """Write one block's predictions; return the number of its documents, and how many of them have an error.

        Raises:
            UserError: If the block can't be read or the output not written, or a document has an error and none may.
        """
        block, task = self.task.blocks[number], self.task
        read = _read_strictly if task.strict else read_documents
        documents = read(block, task.text_column, task.id_column)
        errors = list(documents.errors)
        good = [i for i, error in enumerate(errors) if error is None]
        prediction = self.classifier.predict([documents.texts[i] for i in good], batch_size=task.batch_size)
        for place in np.flatnonzero(~np.isfinite(prediction.logits.documents).all(axis=1)):
            errors[good[place]] = "the classifier's output is not a number"
        if task.strict and any(errors):
            raise DataError(f"{block.file}: {block.shown_rows}: {next(filter(None, errors))}")
        self.folder.write(number, _table(documents.ids, errors, good, prediction, task.logits))
        return len(errors), sum(error is not None for error in errors)


def _read_strictly(block: TextBlock, text_column: str, id_column: str | None) -> Documents:
    ids, texts = read_block(block, text_column, id_column)
    return Documents(ids, texts, [None] * len(ids))


def _table(
    ids: list[str], errors: list[str | None], good: list[int], prediction: Prediction, with_logits: bool
) -> pa.Table:
    """Return the predictions of a block, with nulls where a document has an error.

    Args:
        ids: Of all documents.
        errors: Of all documents; None for those without one.
        good: Numbers of the documents that were predicted.
        prediction: Of these.
        with_logits: Include the logits.
    """
    import pyarrow as pa

    places = dict(zip(good, range(len(good)), strict=True))
    # Place in the prediction of each document; None where it has an error.
    rows = pa.array([None if error is not None else places[i] for i, error in enumerate(errors)], pa.int64())

    def spread(values: Any) -> Any:
        return pa.array(values).take(rows)

    columns: dict[str, Any] = {
        "id": pa.array(ids, pa.string()), "labels": pa.array(prediction.labels, pa.list_(pa.string())).take(rows)
    }  # fmt: skip
    for j, label in enumerate(prediction.label_names):
        columns[PROBABILITY + label] = spread(prediction.probabilities[:, j].astype(np.float32))
    if with_logits:
        logits = prediction.logits.documents
        columns |= {LOGIT + label: spread(logits[:, j]) for j, label in enumerate(prediction.label_names)}
    return pa.table({**columns, "error": pa.array(errors, pa.string())})
