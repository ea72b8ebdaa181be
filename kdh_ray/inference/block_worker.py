"""What each worker of a batch prediction does: load the model once, then read, classify and write block after block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from kdh_ray.data.text_blocks import TextBlock, read_block
from kdh_ray.data.unlabelled import file_name
from kdh_ray.errors import UnavailableError, UserError
from kdh_ray.storage import fetched, locate, one_line, write_parquet

if TYPE_CHECKING:
    from kdh_ray.training.examples import Prediction


@dataclass(frozen=True)
class Task:
    """What every worker is given.

    Attributes:
        checkpoint: Folder or bucket.
        output: Folder or bucket.
        blocks: Of all files.
        text_column, id_column: See ``read_block``.
        logits: Whether they are written too.
        batch_size: Documents a forward pass.
        precision: As configured.
        threads: Of each worker; None leaves torch's own.
    """

    checkpoint: str
    output: str
    blocks: tuple[TextBlock, ...]
    text_column: str
    id_column: str | None
    logits: bool
    batch_size: int
    precision: str
    threads: int | None = None


class Predictor:
    """One worker's model. Texts stay in here: what leaves are ids, probabilities and logits."""

    def __init__(self, task: Task) -> None:
        import torch

        from kdh_ray.hardware import precision
        from kdh_ray.models.checkpoint import load_checkpoint
        from kdh_ray.models.encoders import load_tokenizer

        if task.threads is not None:
            torch.set_num_threads(task.threads)
        self.task, self.precision = task, precision(task.precision)
        self._filesystem, self._root = locate(task.output)
        with fetched(task.checkpoint) as folder:
            model, self.card = load_checkpoint(folder)
            self.tokenizer = load_tokenizer(str(folder))
        self.model = model.to("cuda" if torch.cuda.is_available() else "cpu")

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Predict the blocks of these numbers; a fault of the user's is returned, for the caller to raise."""
        documents, errors = [], []
        for number in batch["number"]:
            try:
                documents.append(self.predict(int(number)))
                errors.append("")
            except UserError as error:
                documents.append(0)
                errors.append(str(error))
        return {"number": batch["number"], "documents": np.array(documents), "error": np.array(errors)}

    def predict(self, number: int) -> int:
        """Write one block's predictions; returns how many documents it has.

        Raises:
            UserError: If the block can't be read or the output not written.
        """
        task = self.task
        ids, texts = read_block(task.blocks[number], task.text_column, task.id_column)
        table = self._table(ids, self.classify(texts))
        target = str(PurePosixPath(self._root) / file_name(number))
        try:
            write_parquet(self._filesystem, target, table)
        except OSError as error:
            raise UnavailableError(f"{task.output}: can't be written ({one_line(error)})") from None
        return len(ids)

    def classify(self, texts: Sequence[str]) -> Prediction:
        """What the model says of ``texts``."""
        from kdh_ray.data.corpus import Split
        from kdh_ray.data.tokens import tokenize
        from kdh_ray.inference.forward import predict
        from kdh_ray.training.examples import Documents

        targets = np.zeros((len(texts), len(self.card.labels)), dtype=np.int8)
        split = Split([str(number) for number in range(len(texts))], texts, targets)
        documents = Documents.of(split, tokenize(split, self.tokenizer, self.card.max_tokens))
        return predict(self.model, documents, precision=self.precision, batch_size=self.task.batch_size)

    def labels(self, prediction: Prediction) -> list[list[str]]:
        """Of each document, the labels whose probability is at or over their threshold."""
        present = prediction.probabilities >= np.array(self.card.thresholds)
        return [[self.card.labels[j] for j in np.flatnonzero(row)] for row in present]

    def _table(self, ids: list[str], prediction: Prediction) -> Any:
        import pyarrow as pa

        labels, probabilities = self.card.labels, prediction.probabilities
        columns: dict[str, Any] = {"id": ids, "labels": pa.array(self.labels(prediction), pa.list_(pa.string()))}
        for j, label in enumerate(labels):
            columns[f"probability.{label}"] = probabilities[:, j].astype(np.float32)
        if self.task.logits:
            columns |= {f"logit.{label}": prediction.documents[:, j] for j, label in enumerate(labels)}
        return pa.table(columns)
