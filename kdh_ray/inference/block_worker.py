"""The worker of a batch prediction: it loads the model once, then reads, classifies and writes block after block."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from kdh_ray.data.text_blocks import TextBlock, read_block
from kdh_ray.data.unlabelled import file_name
from kdh_ray.errors import UnavailableError, UserError
from kdh_ray.hardware import limit_kernel_caches
from kdh_ray.storage import locate, one_line, write_parquet

if TYPE_CHECKING:
    from kdh_ray.inference.classifier import Prediction


@dataclass(frozen=True)
class BlockTask:
    """The part of a batch prediction that all workers share.

    Attributes:
        checkpoint: Folder or bucket.
        output: Folder or bucket.
        blocks: Blocks of all files.
        text_column, id_column: See ``read_block``.
        logits: Whether logits are written too.
        batch_size: Documents per forward pass.
        precision: As configured.
        threads: Threads of each worker; None leaves torch's own number.
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


class BlockWorker:
    """Predicts blocks of documents. Texts stay inside it: only ids, probabilities and logits leave."""

    def __init__(self, task: BlockTask) -> None:
        import torch

        from kdh_ray.inference.classifier import load_classifier

        limit_kernel_caches()
        if task.threads is not None:
            torch.set_num_threads(task.threads)
        self.task = task
        self._filesystem, self._root = locate(task.output)
        self.classifier = load_classifier(task.checkpoint, precision=task.precision)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Predict the blocks with these numbers; user errors are returned, for the caller to raise."""
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
        """Write one block's predictions; return the number of its documents.

        Raises:
            UserError: If the block can't be read or the output not written.
        """
        task = self.task
        ids, texts = read_block(task.blocks[number], task.text_column, task.id_column)
        table = self._table(ids, self.classifier.predict(texts, batch_size=task.batch_size))
        target = str(PurePosixPath(self._root) / file_name(number))
        try:
            write_parquet(self._filesystem, target, table)
        except OSError as error:
            raise UnavailableError(f"{task.output}: can't be written ({one_line(error)})") from None
        return len(ids)

    def _table(self, ids: list[str], prediction: Prediction) -> Any:
        import pyarrow as pa

        columns: dict[str, Any] = {"id": ids, "labels": pa.array(prediction.labels, pa.list_(pa.string()))}
        for j, label in enumerate(prediction.label_names):
            columns[f"probability.{label}"] = prediction.probabilities[:, j].astype(np.float32)
        if self.task.logits:
            logits = prediction.logits.documents
            columns |= {f"logit.{label}": logits[:, j] for j, label in enumerate(prediction.label_names)}
        return pa.table(columns)
