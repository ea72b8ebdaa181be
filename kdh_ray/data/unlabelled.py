"""The output of ``kdh-ray predict``, read as unlabelled text that a distillation learns from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdh_ray.data.corpus import Corpus, Texts, Unlabelled
from kdh_ray.data.prediction_files import PLAN, PredictionFolder, as_planned, reading_of
from kdh_ray.data.text_blocks import plan_blocks, read_documents
from kdh_ray.data.text_digest import text_digest
from kdh_ray.data.text_files import list_files
from kdh_ray.errors import DataError
from kdh_ray.storage import one_line

_SHARED = ("files", "block", "text_column", "id_column", "reading")  # settings of predictions of the same documents


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
    ids: list[str] = []
    texts: list[str] = []
    logits: list[NDArray[np.float32]] = []
    files = [file for file, _ in first["files"]]
    formats = {content["format"]: content for content in plans}  # each numbers documents in its way
    for number, block in enumerate(plan_blocks(files, first["block"], reading_of(first))):
        read = {
            key: read_documents(as_planned(block, content), first["text_column"], first["id_column"])
            for key, content in formats.items()
        }
        documents = read[first["format"]]
        found = [
            _read_logits(folder, number, read[content["format"]].ids, corpus)
            for folder, content in zip(folders, plans, strict=True)
        ]
        means = np.mean(found, axis=0)
        known = np.isfinite(means).all(axis=1)  # not so where a document has an error
        logits.append(means[known])
        ids += [documents.ids[i] for i in np.flatnonzero(known)]
        texts += [documents.texts[i] for i in np.flatnonzero(known)]
    _check_held_out(folders[0], ids, texts, corpus, held_out)
    return Unlabelled(Texts(ids, texts), np.concatenate(logits))


def _read_plan(folder: str) -> dict[str, Any]:
    plan = PredictionFolder(folder).plan()
    if plan is None:
        raise DataError(f"{folder}: is not an output of kdh-ray predict: it has no {PLAN}")
    return plan


def _check_files(folder: str, content: dict[str, Any]) -> None:
    for file, size in content["files"]:
        if list_files([file]) != [(file, size)]:
            raise DataError(f"{folder}: {file} has changed since it was predicted: its size differs")


def _read_logits(folder: str, number: int, ids: list[str], corpus: Corpus) -> NDArray[np.float32]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    name = PredictionFolder(folder).file_name(number)
    filesystem, file = PredictionFolder(folder).path(name)
    columns = [f"logit.{label}" for label in corpus.labels]
    try:
        table = pq.read_table(file, columns=["id", *columns], filesystem=filesystem)
    except FileNotFoundError:
        raise DataError(f"{folder}: is unfinished: {name} is missing; finish it with kdh-ray predict") from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{folder}/{name}: can't be read ({one_line(error)})") from None
    if table["id"].to_pylist() != ids:
        raise DataError(f"{folder}/{name}: has other documents than the files that were predicted")
    return np.column_stack([table[column].to_numpy() for column in columns]).astype(np.float32)


def _check_held_out(folder: str, ids: list[str], texts: list[str], corpus: Corpus, held_out: Sequence[str]) -> None:
    digests = {digest for name in held_out for digest in corpus.splits[name].digests}
    found = [id_ for id_, text in zip(ids, texts, strict=True) if text_digest(text) in digests]
    if found:
        raise DataError(
            f"{folder}: {len(found)} texts are in the {' or '.join(held_out)} split (first: {found[0]}); leave them out"
        )
