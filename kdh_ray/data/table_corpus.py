"""A user's own labelled text as a corpus, with the files, columns and splits that the configuration names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from kdh_ray.config import DataConfig
from kdh_ray.data.annotations import interpret
from kdh_ray.data.corpus import SPLIT_NAMES, Corpus, Segments, Split
from kdh_ray.data.dealing import seeded_parts
from kdh_ray.data.file_rows import Reading
from kdh_ray.data.table import understood_note
from kdh_ray.data.table_documents import Document, read_documents
from kdh_ray.data.table_files import read_tables
from kdh_ray.data.table_parts import Part
from kdh_ray.errors import DataError

SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}  # of all documents, where no split is named
VALIDATION_SHARE = 1 / 8  # of the training split, where only validation is missing


def read_table_corpus(data: DataConfig) -> Corpus:
    """Read a file, or a folder of files named after splits.

    The splits are those that files or ``split_column`` name. If none is named, documents are split 70/10/20 by
    ``split_rule``. If only validation is missing, it becomes an eighth of the training split. Documents with the same
    text, and those of a group in ``group_column``, stay in one split.

    Args:
        data: Names the file or folder, its columns, and the seed of the splits.

    Raises:
        DataError: If the files, columns, values or splits can't be used as they are; names every fault.
    """
    if data.path is None:
        raise DataError("a table needs data.path: a file, a folder, a URL, or the name of a dataset on the hub")
    tables = read_tables(data.path, reading_of(data))
    read_as = understood_note(tables)
    tables, data, notes_of_tool = interpret(tables, data)
    read = read_documents(tables, data)
    documents = read.documents
    labels = _labels(documents, data)
    whole = _as_one_split(documents, labels, data)
    assigned, notes = _assign_splits(documents, whole, data)
    splits = {name: whole.take(np.flatnonzero(assigned == number)) for number, name in enumerate(SPLIT_NAMES)}
    said = (read_as, *notes_of_tool, *read.notes, *notes)
    return Corpus(_name(data.path), labels, splits, notes=said, warnings=read.warnings)


def reading_of(data: DataConfig) -> Reading:
    """Return how a configuration says that files are to be read."""
    return Reading(data.format, data.delimiter, data.encoding, data.sheet, data.subset)


def _name(path: Path | str | None) -> str:
    """Return the name of a corpus: that of its file or folder, without the ending."""
    return path.resolve().stem if isinstance(path, Path) else PurePosixPath(urlsplit(path or "").path).stem


def _labels(documents: Sequence[Document], data: DataConfig) -> tuple[str, ...]:
    """Return labels in the order that the configuration gives, or those of lists in alphabetical order."""
    if data.label_columns or data.label_names:
        return data.label_columns or data.label_names
    labels = tuple(sorted({label for document in documents for label in document.labels}))
    column = data.labels_column or data.segments_column
    if not labels:
        raise DataError(f"{data.path}: column {column!r} must hold labels; every list is empty")
    if len(labels) >= max(2, len(documents)):
        raise DataError(
            f"{data.path}: column {column!r} must hold labels that documents share; "
            f"got {len(labels)} labels on {len(documents)} documents"
        )
    return labels


def _as_one_split(documents: Sequence[Document], labels: Sequence[str], data: DataConfig) -> Split:
    column = {label: number for number, label in enumerate(labels)}
    targets = np.zeros((len(documents), len(labels)), dtype=np.int8)  # (n_documents, n_labels)
    for row, document in enumerate(documents):
        targets[row, [column[label] for label in document.labels]] = 1
    segments = None
    if all(document.parts is not None for document in documents):
        segments = Segments(
            [np.array([(part.begin, part.end) for part in _parts(document)], dtype=np.int32) for document in documents],
            [_part_targets(document, column) for document in documents],
        )
    groups = None if data.group_column is None else [str(document.group) for document in documents]
    return Split(
        [document.id for document in documents], [document.text for document in documents], targets, segments, groups
    )


def _parts(document: Document) -> tuple[Part, ...]:
    return document.parts or ()


def _part_targets(document: Document, column: dict[str, int]) -> NDArray[np.int8]:
    targets = np.zeros((len(_parts(document)), len(column)), dtype=np.int8)  # (n_parts, n_labels)
    for row, part in enumerate(_parts(document)):
        targets[row, [column[label] for label in part.labels]] = 1
    return targets


def _assign_splits(
    documents: Sequence[Document], whole: Split, data: DataConfig
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Choose each document's split.

    Returns:
        (n_documents,) numbers of splits, by their order in ``SPLIT_NAMES``; and notes on how they were chosen.
    """
    named = {document.split for document in documents}
    if named <= {None, "train"}:
        parts = seeded_parts(whole, list(SHARES.values()), data)
        return parts, (f"splits 70/10/20 made here, {_rule(data)}",)
    assigned = np.array([SPLIT_NAMES.index(document.split or "train") for document in documents], dtype=np.int64)
    if "validation" in named or "train" not in named:
        return assigned, ()
    train = np.flatnonzero(assigned == SPLIT_NAMES.index("train"))
    # Parts 0 and 1 are train and validation, as in SPLIT_NAMES.
    assigned[train] = seeded_parts(whole.take(train), [1 - VALIDATION_SHARE, VALIDATION_SHARE], data)
    return assigned, (f"validation split: an eighth of the training split, {_rule(data)}",)


def _rule(data: DataConfig) -> str:
    """Return the split rule in words."""
    if data.split_rule == "stratified":
        return f"stratified, seed {data.sample_seed}"
    kind = "group" if data.group_column is not None else "text" if data.id_column is None else "id"
    return f"by a hash of each {kind}, seed {data.sample_seed}"
