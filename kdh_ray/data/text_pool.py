"""Text without labels that a run predicts itself: its files, and which of its documents may teach."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kdh_ray.data.corpus import Corpus
from kdh_ray.data.file_rows import Reading
from kdh_ray.data.messages import listing
from kdh_ray.data.near_duplicates import MOST_DOCUMENTS, SIMILARITY, Lookup
from kdh_ray.data.prediction_files import OLD_PLAN, PLAN
from kdh_ray.data.text_blocks import TextBlock, check_columns, plan_blocks, read_documents
from kdh_ray.data.text_digest import text_digest
from kdh_ray.data.text_files import list_files, shown_name
from kdh_ray.errors import DataError

if TYPE_CHECKING:
    from kdh_ray.config import DataConfig

BLOCK = 512  # documents: what a killed prediction loses, and the share of a worker


@dataclass(frozen=True)
class TextPool:
    """Files of text, known by what is in them.

    Attributes:
        files: Paths, absolute if they are local, or URLs.
        text_column, id_column: See :func:`kdh_ray.data.text_blocks.read_block`.
        reading: How the files are to be read.
        blocks: The files in blocks of :data:`BLOCK` documents.
        fingerprint: SHA-256 of the blocks' ids and texts.
        left_out: (n,) numbers of the documents that must not teach, from 0: held-out texts, and what is no text.
        sample: Documents that an epoch trains on; None: all.
        warnings: What the user should know of the text, a sentence each.
    """

    files: tuple[str, ...]
    text_column: str
    id_column: str | None
    reading: Reading
    blocks: tuple[TextBlock, ...] = field(repr=False)
    fingerprint: str
    left_out: NDArray[np.int64] = field(repr=False)
    sample: int | None = None
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return sum(block.count for block in self.blocks)


def find_files(data: DataConfig) -> list[str]:
    """Return the files of the unlabelled text that a configuration names; none if it names none.

    Raises:
        DataError: If there are none, or they are predictions.
        UnavailableError: If a folder or bucket can't be listed.
    """
    text = data.unlabelled_text
    if text is None:
        return []
    if any((Path(text.path) / name).exists() for name in (PLAN, OLD_PLAN)):
        raise DataError(
            f"data.unlabelled.path: {text.path} is an output of kdh-ray predict, not text: give it in a list,"
            " data.unlabelled=[FOLDER]"
        )
    place = text.path if "://" in text.path else os.path.abspath(text.path)  # workers may start elsewhere
    try:
        return [file for file, _ in list_files([place])]
    except DataError as error:
        raise DataError(f"data.unlabelled.path: {error}") from None


def read_pool(data: DataConfig, corpus: Corpus) -> TextPool:
    """Read the unlabelled text of a configuration once, a block at a time, and compare it with held-out documents.

    Args:
        data: Has ``unlabelled.path``.
        corpus: Its validation and test split are held out; where there are folds, its training split too.

    Raises:
        DataError: If a file can't be read as text, has held-out texts that are to be refused, or nothing else.
        UnavailableError: If a file can't be read.
    """
    text = data.unlabelled_text
    if text is None:
        raise ValueError("data.unlabelled: must name text")
    files = find_files(data)
    reading = Reading(delimiter=text.delimiter, encoding=text.encoding, sheet=text.sheet)
    column = text.text_column or data.text_column
    if text.id_column == column:
        raise DataError(f"data.unlabelled.id_column: ids can't be the texts; got {column!r} for both")
    blocks = tuple(plan_blocks(files, BLOCK, reading))
    check_columns(blocks, column, text.id_column)
    scan = _Scan(corpus, held_out_splits(data.folds), sum(block.count for block in blocks) <= MOST_DOCUMENTS)
    for block in blocks:
        scan.add(block, column, text.id_column)
    place = shown_name(text.path)
    if scan.held_out and text.held_out == "refuse":
        raise held_out_error(place, scan.held_out, scan.splits, "leave them out, or set data.unlabelled.held_out: drop")
    left_out = np.array(sorted(scan.left_out), dtype=np.int64)
    pool = TextPool(
        tuple(files), column, text.id_column, reading, blocks, scan.digest.hexdigest(), left_out, text.sample,
        tuple(f"{place}: {warning}" for warning in scan.warnings()),
    )  # fmt: skip
    if len(left_out) == len(pool):
        raise DataError(f"{place}: holds no document to learn from: {'; '.join(scan.warnings()) or 'it is empty'}")
    return pool


def held_out_splits(folds: int) -> tuple[str, ...]:
    """Return the splits whose texts must not teach: where there are folds, every document is held out once."""
    return ("validation", "test") if folds == 1 else ("train", "validation", "test")


def held_out_error(place: str, ids: Sequence[str], splits: Sequence[str], remedy: str) -> DataError:
    """Return the error for unlabelled text that has held-out documents."""
    return DataError(f"{place}: {len(ids)} texts are in the {' or '.join(splits)} split (first: {ids[0]}); {remedy}")


class _Scan:
    """One pass over the blocks of a pool.

    Args:
        corpus: Has the held-out splits.
        splits: Their names.
        with_near: Search for texts that are nearly the same as held-out ones, too.
    """

    def __init__(self, corpus: Corpus, splits: Sequence[str], with_near: bool) -> None:
        self.splits = splits
        self.digest = hashlib.sha256()
        self.left_out: list[int] = []
        self.held_out: list[str] = []  # ids
        self._documents = 0
        self._faulty: list[str] = []
        self._near: list[str] = []
        held_out = [corpus.splits[name] for name in splits]
        self._digests = {digest for split in held_out for digest in split.digests}
        self._lookup = Lookup([text for split in held_out for text in split.texts]) if with_near else None

    def add(self, block: TextBlock, text_column: str, id_column: str | None) -> None:
        """Read a block."""
        documents = read_documents(block, text_column, id_column)
        self.digest.update(repr(documents.ids).encode())
        candidates = []
        for place, (id_, text, error) in enumerate(zip(documents.ids, documents.texts, documents.errors, strict=True)):
            self.digest.update(hashlib.sha256(text.encode()).digest())
            if error is not None:
                self._faulty.append(id_)
            elif text_digest(text) in self._digests:
                self.held_out.append(id_)
            else:
                candidates.append(place)
                continue
            self.left_out.append(self._documents + place)
        if self._lookup is not None:
            near = self._lookup.near([documents.texts[place] for place in candidates])
            self._near += [documents.ids[candidates[place]] for place in near]
        self._documents += block.count

    def warnings(self) -> list[str]:
        """Return what the pass has found, a sentence each; names documents by id."""
        found = []
        if self._faulty:
            found.append(f"{listing(self._faulty, 'document')} can't be read as text, and left out")
        if self.held_out:
            found.append(f"{listing(self.held_out, 'text')} of the {' or '.join(self.splits)} split, left out")
        if self._near:
            share = f"{100 * SIMILARITY:.0f} % of all pairs of words in common"
            like = f"{listing(self._near, 'text')}, like {' or '.join(self.splits)} ones"
            found.append(f"near-duplicates, with {share}, not left out: {like}")
        if self._lookup is None:
            found.append(
                f"texts that nearly repeat others are not searched for in more than {MOST_DOCUMENTS:,} documents"
            )
        return found
