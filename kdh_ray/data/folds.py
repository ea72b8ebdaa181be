"""Cross-fitting: documents divided into parts, each of which is once the validation split of the others.

A model that is trained on all parts but one scores the documents of that one; over all parts, every document is scored
once by a model that never saw it (Stone, "Cross-validatory choice and assessment of statistical predictions", 1974).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kdh_ray.data.corpus import Corpus, Folds, Split
from kdh_ray.data.messages import listing
from kdh_ray.errors import DataError

FEW_IN_A_FOLD = 10

Dealer = Callable[[Split, Sequence[float]], NDArray[np.int64]]
"""Maps documents and each part's share of them to (n_documents,) numbers of parts, from 0."""


def with_folds(corpus: Corpus, number: int, deal: Dealer, splits: Sequence[str]) -> Corpus:
    """Divide the documents of ``splits`` into ``number`` folds.

    Args:
        corpus: The corpus.
        number: Number of folds.
        deal: Divides documents; it keeps together what belongs in one split.
        splits: ``train`` and ``validation``; ``train`` alone if the protocol's validation split is not for training.

    Raises:
        DataError: If there are too few documents, or groups of them, for so many folds.
    """
    pool = _joined([corpus.splits[name] for name in splits])
    parts = deal(pool, [1 / number] * number) + 1
    counts = np.bincount(parts, minlength=number + 1)[1:]
    if not counts.all():
        raise DataError(
            f"data.folds: each of {number} folds must get documents; {len(pool)} documents"
            f" make only {int((counts > 0).sum())}"
        )
    note = f"{number} folds of {counts.min()} to {counts.max()} documents, of {' and '.join(splits)}"
    return replace(
        corpus,
        folds=Folds(parts, tuple(splits)),
        notes=(*corpus.notes, note),
        warnings=(*corpus.warnings, *_small_fold_warnings(corpus.labels, pool, parts)),
    )


def _small_fold_warnings(labels: Sequence[str], pool: Split, parts: NDArray[np.int64]) -> list[str]:
    """Return a line if folds are so small that their scores say little.

    Args:
        labels: Names of the labels.
        pool: Documents of all folds.
        parts: (n_documents,) fold of each, from 1.
    """
    numbers = range(1, int(parts.max()) + 1)
    support = np.array([pool.targets[parts == number].sum(axis=0) for number in numbers])  # (n_folds, n_labels)
    lacking = [label for label, counts in zip(labels, support.T, strict=True) if not counts.all()]
    smallest = int(np.bincount(parts)[1:].min())
    reasons = [f"the smallest has {smallest} documents"] if smallest < FEW_IN_A_FOLD else []
    reasons += [f"some have no document with {listing(lacking, 'label')}"] if lacking else []
    if not reasons:
        return []
    return [
        f"data.folds: {len(numbers)} folds are small ({'; '.join(reasons)}): their scores say little, so take fewer"
    ]


def fold_corpus(corpus: Corpus, number: int) -> Corpus:
    """Return the corpus whose validation split is fold ``number``, from 1, and whose training split are the others."""
    folds, pool = _folds(corpus), _pool(corpus)
    splits = {
        "train": pool.take(np.flatnonzero(folds.parts != number)),
        "validation": pool.take(np.flatnonzero(folds.parts == number)),
    }
    return replace(corpus, splits={**corpus.splits, **splits}, folds=None, sample_of=corpus.identity)


def refit_corpus(corpus: Corpus) -> Corpus:
    """Return the corpus whose training split is all folds; so is its validation split, which models of the folds score.

    Document i of either split is in fold ``corpus.folds.parts[i]``.
    """
    pool = _pool(corpus)
    splits = {**corpus.splits, "train": pool, "validation": pool}
    return replace(corpus, splits=splits, sample_of=corpus.identity)


def is_divided(corpus: Corpus) -> bool:
    """Return True if training and validation documents alike are in folds, so that a final model learns from all."""
    return corpus.folds is not None and "validation" in corpus.folds.splits


def folds_of(corpus: Corpus) -> list[tuple[int, NDArray[np.int64]]]:
    """Return the number of each fold, from 1, and the indices of its documents in :func:`refit_corpus`."""
    parts = _folds(corpus).parts
    return [(number, np.flatnonzero(parts == number)) for number in range(1, int(parts.max()) + 1)]


def _pool(corpus: Corpus) -> Split:
    return _joined([corpus.splits[name] for name in _folds(corpus).splits])


def _folds(corpus: Corpus) -> Folds:
    if corpus.folds is None:
        raise ValueError(f"{corpus.name}: the corpus has no folds")
    return corpus.folds


def _joined(splits: Sequence[Split]) -> Split:
    first, *others = splits
    for other in others:
        first = first.joined(other)
    return first
