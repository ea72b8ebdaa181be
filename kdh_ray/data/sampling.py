"""Seeded samples and splits that keep every label's share: iterative stratification.

Source: Sechidis, Tsoumakas, Vlahavas (2011), On the Stratification of Multi-Label Data,
doi:10.1007/978-3-642-23808-6_10, as implemented by iterative-stratification.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kdh_ray.data.corpus import Corpus

SIZES = {"small": 1, "medium": 2, "large": 4}  # quarters of the training split


def stratified_parts(targets: NDArray[np.int8], shares: Sequence[float], seed: int) -> NDArray[np.int64]:
    """Deal documents to parts so that each part has its share of every label, and of documents without one.

    Args:
        targets: (n_documents, n_labels) of 0 and 1.
        shares: Each part's share of the documents; they add up to 1.
        seed: Of the order in which ties are broken.

    Returns:
        (n_documents,) index of each document's part.
    """
    from iterstrat.ml_stratifiers import IterativeStratification

    unlabelled = targets.sum(axis=1, keepdims=True) == 0
    labels = np.concatenate([targets == 1, unlabelled], axis=1)
    # The library deals in document order; shuffled first, as its own splitters do, so that order carries no meaning.
    random = np.random.RandomState(seed)  # the generator that the library takes
    order = random.permutation(len(labels))
    parts = np.empty(len(labels), dtype=np.int64)
    parts[order] = IterativeStratification(labels[order], np.asarray(shares, dtype=float), random)
    return parts


def grouped_parts(
    groups: Sequence[str], targets: NDArray[np.int8], shares: Sequence[float], seed: int
) -> NDArray[np.int64]:
    """``stratified_parts`` of whole groups: items of one group come into one part. Returns (n_items,) parts."""
    _, first, group_of = np.unique(np.asarray(groups, dtype=str), return_index=True, return_inverse=True)
    labels = np.zeros((len(first), targets.shape[1]), dtype=np.int8)
    np.maximum.at(labels, group_of, targets)
    order = np.argsort(first)  # groups in the order in which they come, whatever their names
    parts = np.empty(len(first), dtype=np.int64)
    parts[order] = stratified_parts(labels[order], shares, seed)
    return parts[group_of]


def nested_sample(corpus: Corpus, size: str, seed: int, groups: Sequence[str] | None = None) -> Corpus:
    """The corpus with 25 % (small), 50 % (medium) or all (large) of its training split; the rest stays whole.

    Samples nest: with one seed, every document of the small one is in the medium one.

    Args:
        corpus: Sampled from.
        size: ``small``, ``medium`` or ``large``.
        seed: Of the sample.
        groups: What each item of the training split belongs to, if items of one group must stay together.
    """
    quarters = SIZES[size]
    if quarters == 4:
        return corpus
    train = corpus.splits["train"]
    parts = grouped_parts(train.ids if groups is None else groups, train.targets, [0.25] * 4, seed)
    sample = train.take(np.flatnonzero(parts < quarters))
    note = f"training split: {size} sample (seed {seed}), {len(sample)} of {len(train)} documents"
    return replace(corpus, splits={**corpus.splits, "train": sample}, notes=(*corpus.notes, note))
