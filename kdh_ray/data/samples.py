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


def nested_sample(corpus: Corpus, size: str, seed: int) -> Corpus:
    """The corpus with 25 % (small), 50 % (medium) or all (large) of its training split; the rest stays whole.

    Samples nest: with one seed, every document of the small one is in the medium one. Where a document is split into
    sentences (``hoc-sentence``), its sentences stay together.
    """
    quarters = SIZES[size]
    if quarters == 4:
        return corpus
    train = corpus.splits["train"]
    groups, group_of = np.unique([document_of(id_) for id_ in train.ids], return_inverse=True)
    targets = np.zeros((len(groups), len(corpus.labels)), dtype=np.int8)
    np.maximum.at(targets, group_of, train.targets)
    chosen = stratified_parts(targets, [0.25] * 4, seed) < quarters
    sample = train.take(np.flatnonzero(chosen[group_of]))
    note = f"training split: {size} sample (seed {seed}), {len(sample)} of {len(train)} documents"
    return replace(corpus, splits={**corpus.splits, "train": sample}, notes=(*corpus.notes, note))


def document_of(id_: str) -> str:
    """The document that an item of a corpus belongs to: ``PMID`` of the sentence ``PMID#3``."""
    return id_.partition("#")[0]
