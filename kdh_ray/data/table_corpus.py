"""A user's own labelled text as a corpus: files, columns and splits as the configuration names them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kdh_ray.config import DataConfig
from kdh_ray.data.corpus import SPLIT_NAMES, Corpus, Split
from kdh_ray.data.sampling import grouped_parts
from kdh_ray.data.table_documents import Document, read_documents
from kdh_ray.data.table_files import read_tables
from kdh_ray.data.text_digest import text_digest
from kdh_ray.errors import DataError

SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}


def read_table_corpus(data: DataConfig) -> Corpus:
    """Read a file, or a folder of files named after splits.

    Splits are those that files or ``split_column`` name. Where none are named, documents are dealt 70/10/20 by seeded
    iterative stratification; where only validation is not, an eighth of the training split becomes it. Documents with
    the same text stay together.

    Raises:
        DataError: If anything about the files, columns, values or splits keeps them from being used as they are.
    """
    if data.path is None:
        raise DataError("a table needs data.path: a CSV, TSV, JSON Lines or Parquet file, or a folder")
    documents = read_documents(read_tables(data.path), data)
    labels = _labels(documents, data)
    whole = _split(documents, labels)
    parts, notes = _parts(documents, whole, data)
    splits = {name: whole.take(np.flatnonzero(parts == place)) for place, name in enumerate(SPLIT_NAMES)}
    return Corpus(data.path.resolve().stem, labels, splits, notes=notes)


def _labels(documents: Sequence[Document], data: DataConfig) -> tuple[str, ...]:
    """Label columns in their given order; labels of lists in alphabetical order."""
    if data.label_columns:
        return data.label_columns
    labels = tuple(sorted({label for document in documents for label in document.labels}))
    if not labels:
        raise DataError(f"{data.path}: column {data.labels_column!r} must hold labels; every list is empty")
    if len(labels) >= max(2, len(documents)):
        raise DataError(
            f"{data.path}: column {data.labels_column!r} must hold labels that documents share; "
            f"got {len(labels)} labels on {len(documents)} documents"
        )
    return labels


def _split(documents: Sequence[Document], labels: Sequence[str]) -> Split:
    column = {label: place for place, label in enumerate(labels)}
    targets = np.zeros((len(documents), len(labels)), dtype=np.int8)
    for row, document in enumerate(documents):
        targets[row, [column[label] for label in document.labels]] = 1
    return Split([document.id for document in documents], [document.text for document in documents], targets)


def _parts(documents: Sequence[Document], whole: Split, data: DataConfig) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The place in ``SPLIT_NAMES`` of each document's split, and notes on how it came about."""
    named = {document.split for document in documents}
    groups = [text_digest(text) for text in whole.texts]
    seed = data.sample_seed
    if named <= {None, "train"}:
        shares = list(SHARES.values())
        return grouped_parts(groups, whole.targets, shares, seed), (f"splits 70/10/20 made here, seed {seed}",)
    parts = np.array([SPLIT_NAMES.index(document.split or "train") for document in documents], dtype=np.int64)
    if "validation" in named or "train" not in named:
        return parts, ()
    train = np.flatnonzero(parts == 0)
    kept = grouped_parts([groups[i] for i in train], whole.targets[train], [0.875, 0.125], seed)
    parts[train] = kept
    return parts, (f"validation split: an eighth of the training split, seed {seed}",)
