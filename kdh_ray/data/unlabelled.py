"""The output of ``kdh-ray predict``, read as unlabelled text that a distillation learns from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdh_ray.data.corpus import Corpus, Texts, Unlabelled
from kdh_ray.data.prediction_files import PLAN, PredictionFolder, as_planned, reading_of
from kdh_ray.data.stored_texts import StoredTexts
from kdh_ray.data.text_blocks import plan_blocks, read_documents
from kdh_ray.data.text_digest import text_digest
from kdh_ray.data.text_files import list_files
from kdh_ray.data.text_pool import TextPool, held_out_error
from kdh_ray.errors import DataError
from kdh_ray.storage import one_line

_SHARED = ("files", "block", "text_column", "id_column", "reading")  # settings of predictions of the same documents
Blocks = list[tuple[list[str], NDArray[np.float32]]]
"""Ids and (n_documents, n_labels) logits of each block; NaN where a document has an error."""


def read_unlabelled(
    folders: Sequence[str], corpus: Corpus, held_out: Sequence[str] = ("validation", "test")
) -> Unlabelled:
    """Return texts and their teacher logits: the mean over the predictions in ``folders``.

    Args:
        folders: Outputs of ``kdh-ray predict --logits``, over the same files. The texts are read from those files.
        corpus: Its labels must be those of the predictions.
        held_out: Splits whose texts must not be among the unlabelled; where there are folds, the training split too.

    Raises:
        DataError: If a prediction is unfinished, has other labels, no logits, or other documents than the first.
        UnavailableError: If a file can't be read.
    """
    plans = [_read_plan(folder) for folder in folders]
    first = plans[0]
    for folder, content in zip(folders, plans, strict=True):
        if list(content["labels"]) != list(corpus.labels):
            raise DataError(f"{folder}: predictions must have the data's labels, in their order")
        if not content["logits"] or content.get("form", "parquet") != "parquet":
            raise DataError(f"{folder}: holds no logits; predict with --logits, and without --format")
        if any(content.get(name) != first.get(name) for name in _SHARED):
            raise DataError(f"{folder}: must be of the same files, blocks and columns as {folders[0]}")
    _check_files(folders[0], first)
    found: Blocks = []
    digests = {digest for name in held_out for digest in corpus.splits[name].digests}
    seen: list[str] = []  # ids of held-out texts
    formats = {content["format"]: content for content in plans}  # each numbers documents in its way
    blocks = plan_blocks([file for file, _ in first["files"]], first["block"], reading_of(first))
    for number, block in enumerate(blocks):
        read = {
            key: read_documents(as_planned(block, content), first["text_column"], first["id_column"])
            for key, content in formats.items()
        }
        documents = read[first["format"]]
        logits = [
            _read_logits(folder, number, corpus.labels, read[content["format"]].ids)[1]
            for folder, content in zip(folders, plans, strict=True)
        ]
        found.append((documents.ids, np.mean(logits, axis=0)))
        known: NDArray[np.bool_] = np.asarray(np.isfinite(found[-1][1]).all(axis=1))
        texts = zip(documents.ids, documents.texts, known, strict=True)
        seen += [id_ for id_, text, is_known in texts if is_known and text_digest(text) in digests]
    if seen:
        raise held_out_error(folders[0], seen, held_out, "leave them out")
    rows, ids, means = _joined(found)
    names = [PurePosixPath(folder).name for folder in folders]
    return Unlabelled(Texts(ids, StoredTexts(blocks, first["text_column"], rows)), means, names)


def read_predicted(
    pool: TextPool, folders: Sequence[str], labels: Sequence[str], teachers: Sequence[str]
) -> Unlabelled:
    """Return the texts of a pool that may teach, and the mean of the logits in ``folders``.

    Args:
        pool: The text.
        folders: Predictions of the pool's blocks.
        labels: Names of the columns.
        teachers: Names of what predicted them.

    Raises:
        DataError: If a prediction is unfinished, or of other documents.
        UnavailableError: If a file can't be read.
    """
    found: Blocks = []
    for number in range(len(pool.blocks)):
        ids, logits = _read_logits(folders[0], number, labels)
        others = [_read_logits(folder, number, labels, ids)[1] for folder in folders[1:]]
        found.append((ids, np.mean([logits, *others], axis=0)))
    rows, ids, means = _joined(found, pool.left_out)
    return Unlabelled(Texts(ids, StoredTexts(pool.blocks, pool.text_column, rows)), means, teachers, pool.sample)


def _joined(
    blocks: Blocks, left_out: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], list[str], NDArray[np.float32]]:
    """Return the numbers, ids and logits of the documents that teach: neither left out nor with an error."""
    logits = np.concatenate([found for _, found in blocks])
    known = np.isfinite(logits).all(axis=1)
    if left_out is not None:
        known[left_out] = False
    rows = np.flatnonzero(known)
    ids = [id_ for own, _ in blocks for id_ in own]
    return rows, [ids[row] for row in rows], logits[rows]


def _read_plan(folder: str) -> dict[str, Any]:
    plan = PredictionFolder(folder).plan()
    if plan is None:
        raise DataError(
            f"{folder}: is not an output of kdh-ray predict: it has no {PLAN}; to let the run predict text with its own"
            " teachers, set data.unlabelled.path"
        )
    return plan


def _check_files(folder: str, content: dict[str, Any]) -> None:
    for file, size in content["files"]:
        if list_files([file]) != [(file, size)]:
            raise DataError(f"{folder}: {file} has changed since it was predicted: its size differs")


def _read_logits(
    folder: str, number: int, labels: Sequence[str], ids: list[str] | None = None
) -> tuple[list[str], NDArray[np.float32]]:
    """Return the ids and logits of a block, whose ids must be ``ids`` if they are given."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    name = PredictionFolder(folder).file_name(number)
    filesystem, file = PredictionFolder(folder).path(name)
    columns = [f"logit.{label}" for label in labels]
    try:
        table = pq.read_table(file, columns=["id", *columns], filesystem=filesystem)
    except FileNotFoundError:
        raise DataError(f"{folder}: is unfinished: {name} is missing; finish it with kdh-ray predict") from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{folder}/{name}: can't be read ({one_line(error)}); remove it, and predict again") from None
    found = table["id"].to_pylist()
    if ids is not None and found != ids:
        raise DataError(f"{folder}/{name}: has other documents than the files that were predicted")
    return found, np.column_stack([table[column].to_numpy() for column in columns]).astype(np.float32)
