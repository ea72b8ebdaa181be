"""Seeded samples and splits in which every label keeps its share of documents.

The method is iterative stratification: Sechidis, Tsoumakas, Vlahavas (2011), On the Stratification of Multi-Label Data,
doi:10.1007/978-3-642-23808-6_10, as the package iterative-stratification implements it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kdh_ray.data.corpus import Corpus

SIZES = {"small": 1, "medium": 2, "large": 4}  # quarters of the training split
QUARTERS = (0.25,) * 4


def stratified_parts(targets: NDArray[np.int8], shares: Sequence[float], seed: int) -> NDArray[np.int64]:
    """Divide documents into parts, each with its share of every label and of documents without a label.

    Args:
        targets: (n_documents, n_labels) of 0 and 1.
        shares: Each part's share of the documents; they add up to 1.
        seed: Seed of the order of documents, which decides ties.

    Returns:
        (n_documents,) index of each document's part.
    """
    from iterstrat.ml_stratifiers import IterativeStratification

    unlabelled = targets.sum(axis=1, keepdims=True) == 0
    labels = np.concatenate([targets == 1, unlabelled], axis=1)  # (n_documents, n_labels + 1)
    # The library takes documents in order. They are shuffled, as its own splitters do, so that order has no effect.
    random = np.random.RandomState(seed)  # the library takes no other generator
    order = random.permutation(len(labels))
    parts = np.empty(len(labels), dtype=np.int64)
    parts[order] = IterativeStratification(labels[order], np.asarray(shares, dtype=float), random)
    return parts


def grouped_parts(
    groups: Sequence[str], targets: NDArray[np.int8], shares: Sequence[float], seed: int
) -> NDArray[np.int64]:
    """Divide whole groups into parts as :func:`stratified_parts` does. A group has every label that an item has.

    Args:
        groups: The group of each item.
        targets: (n_items, n_labels) of 0 and 1.
        shares: Each part's share of the groups; they add up to 1.
        seed: Seed of the order of groups.

    Returns:
        (n_items,) index of each item's part, the same within a group.
    """
    # first: (n_groups,) number of each group's first item; group_of: (n_items,) group of each item
    _, first, group_of = np.unique(np.asarray(groups, dtype=str), return_index=True, return_inverse=True)
    labels = np.zeros((len(first), targets.shape[1]), dtype=np.int8)  # (n_groups, n_labels)
    np.maximum.at(labels, group_of, targets)
    order = np.argsort(first)  # groups in order of appearance, so that their names have no effect
    parts = np.empty(len(first), dtype=np.int64)
    parts[order] = stratified_parts(labels[order], shares, seed)
    return parts[group_of]


def joined_groups(first: Sequence[str], second: Sequence[str]) -> list[str]:
    """Return groups that keep together what either of two groupings does: the connected components of both.

    Args:
        first: The group of each item in one grouping.
        second: The group of each item in the other.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    _, one = np.unique(np.asarray(first, dtype=str), return_inverse=True)
    _, two = np.unique(np.asarray(second, dtype=str), return_inverse=True)
    n_nodes = int(one.max()) + int(two.max()) + 2  # a node for each group, an edge for each item
    edges = coo_array((np.ones(len(one)), (one, two + one.max() + 1)), shape=(n_nodes, n_nodes))
    _, component = connected_components(edges, directed=False)
    return [str(number) for number in component[one]]


def nested_sample(
    corpus: Corpus,
    size: str,
    seed: int,
    groups: Sequence[str] | None = None,
    quarters: NDArray[np.int64] | None = None,
) -> Corpus:
    """Return a corpus with 25 % (small), 50 % (medium) or all (large) of its training split, and the others whole.

    Samples nest: with one seed, every document of the small sample is in the medium one. They are stratified, unless
    ``quarters`` are given.

    Args:
        corpus: The whole corpus.
        size: ``small``, ``medium`` or ``large``.
        seed: Seed of the sample.
        groups: Group of each item of the training split, if items of a group must stay together.
        quarters: (n_train,) quarter of each training document, 0 to 3.
    """
    if size == "large":
        return corpus
    train = corpus.splits["train"]
    # The split is divided into quarters once. Medium adds a quarter to small, so samples nest.
    if quarters is None:
        quarters = grouped_parts(train.ids if groups is None else groups, train.targets, QUARTERS, seed)
    sample = train.take(np.flatnonzero(quarters < SIZES[size]))
    note = f"training split: {size} sample (seed {seed}), {len(sample)} of {len(train)} documents"
    splits = {**corpus.splits, "train": sample}
    return replace(corpus, splits=splits, notes=(*corpus.notes, note), sample_of=corpus.identity)
