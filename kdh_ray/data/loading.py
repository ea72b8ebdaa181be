"""Corpora by the names of their protocols."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kdh_ray.data.corpus import Corpus, Split
from kdh_ray.errors import DataError

if TYPE_CHECKING:
    from kdh_ray.config import DataConfig


def load_corpus(name: str, path: str | os.PathLike[str] | None = None, **options: Any) -> Corpus:
    """Load a corpus by the name of its protocol.

    Args:
        name: ``synthetic``, ``hoc-blurb``, ``hoc-blue``, ``hoc-sentence`` or ``table``.
        path: Folder of HoC; a user's file, folder or URL; or ``owner/name`` of a dataset on the hub. The synthetic
            corpus needs none.
        **options: Further fields of :class:`kdh_ray.config.DataConfig`: ``size``, ``sample_seed``, ``text_column``, ...

    Raises:
        ConfigError: If an option is unknown or out of range.
        DataError: If the corpus is missing or can't be used as it is.

    Example:
        >>> corpus = load_corpus("synthetic", documents=100)
        >>> len(corpus.splits["train"]), len(corpus.labels)
        (60, 10)
    """
    from kdh_ray.config import parse_data

    return corpus_from_config(parse_data({"corpus": name, "path": path, **options}, "load_corpus"))


def corpus_from_config(data: DataConfig, few: bool = False) -> Corpus:
    """Load, sample and check the corpus that a configuration names; text that a run predicts itself is not read.

    Args:
        data: The data section.
        few: Return a corpus of too few documents for three splits as it is, with a warning, to look at it.

    Raises:
        DataError: If the corpus is missing or can't be used as it is.
    """
    from kdh_ray.data.corpus_checks import check_corpus, empty_splits
    from kdh_ray.data.sampling import nested_sample

    if data.corpus not in READERS:
        raise DataError(f"corpus must be one of {', '.join(READERS)}; got {data.corpus!r}")
    corpus = READERS[data.corpus](data)
    if few and (faults := empty_splits(corpus)):
        return replace(corpus, warnings=(*corpus.warnings, "; ".join(faults)))
    check_corpus(corpus)
    sample = nested_sample(corpus, data.size, data.sample_seed, _document_of_each_item(corpus), _quarters(corpus, data))
    if sample is not corpus:
        check_corpus(sample)  # a small sample may have lost a label
    if isinstance(data.unlabelled, tuple) and data.unlabelled:
        from kdh_ray.data.text_pool import held_out_splits
        from kdh_ray.data.unlabelled import read_unlabelled

        unlabelled = read_unlabelled(data.unlabelled, sample, held_out_splits(data.folds))
        sample = replace(sample, unlabelled=unlabelled)
    return sample if data.folds == 1 else _with_folds(sample, data)


def _quarters(corpus: Corpus, data: DataConfig) -> NDArray[np.int64] | None:
    """Return the quarter of each training document of a table by its hash; None where samples are stratified."""
    from kdh_ray.data.dealing import seeded_parts
    from kdh_ray.data.sampling import QUARTERS

    if data.corpus != "table" or data.split_rule != "hashed" or data.size == "large":
        return None
    return seeded_parts(corpus.splits["train"], QUARTERS, data, "quarter ")


def _with_folds(corpus: Corpus, data: DataConfig) -> Corpus:
    """Divide what may be trained on into folds. A published protocol's validation split may not."""
    from kdh_ray.data.dealing import seeded_parts
    from kdh_ray.data.folds import with_folds
    from kdh_ray.data.sampling import grouped_parts

    if data.corpus == "table":
        return with_folds(
            corpus, data.folds, lambda pool, shares: seeded_parts(pool, shares, data, "fold "), ("train", "validation")
        )
    splits = ("train", "validation") if data.corpus == "synthetic" else ("train",)

    def deal(pool: Split, shares: Sequence[float]) -> NDArray[np.int64]:
        groups = _document_of_each_item(corpus) or pool.ids
        return grouped_parts(groups, pool.targets, shares, data.sample_seed)

    return with_folds(corpus, data.folds, deal, splits)


def _document_of_each_item(corpus: Corpus) -> list[str] | None:
    """Return the document of each item of the training split; None where items are documents."""
    if corpus.name != "hoc-sentence":
        return None
    return [id_.partition("#")[0] for id_ in corpus.splits["train"].ids]


def _read_hoc(data: DataConfig) -> Corpus:
    from kdh_ray.data.hoc import read_hoc

    return read_hoc(data.corpus, None if data.path is None else Path(data.path))


def _read_table(data: DataConfig) -> Corpus:
    from kdh_ray.data.table_corpus import read_table_corpus

    return read_table_corpus(data)


def _make_synthetic(data: DataConfig) -> Corpus:
    from kdh_ray.data.synthetic import synthetic_corpus

    return synthetic_corpus(data.documents, data.sample_seed)


READERS: dict[str, Callable[[DataConfig], Corpus]] = {
    "synthetic": _make_synthetic,
    "hoc-blurb": _read_hoc,
    "hoc-blue": _read_hoc,
    "hoc-sentence": _read_hoc,
    "table": _read_table,
}
"""Corpus names and what reads them."""
