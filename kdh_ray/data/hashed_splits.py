"""Splits in which a document's place depends on that document, so that rows added to a table move none.

A keyed hash of its id or text gives each document a place in [0, 1), and each split has a range of places. Whatever
depends on all documents (a shuffle, a stratification) deals all of them anew when a row is added, and a model trained
before then meets its training documents in the test split. The price is that sizes and label shares are those of a
random sample. Small corpora and rare labels need some help: see :func:`hashed_parts`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_TRAIN = 0  # the part that lends groups to the others
_FEW = 60  # groups of a small corpus


def hashed_parts(
    keys: Sequence[str], groups: Sequence[str], targets: NDArray[np.int8], shares: Sequence[float], seed: int
) -> NDArray[np.int64]:
    """Divide documents into parts by a hash of their keys; groups stay whole.

    A group takes the highest place of its members, so that a further member moves it towards part 0, if at all. Each
    label, and its absence, is in part 0 and, if enough groups have it, in the others. Each other part has at least two
    thirds of its share of up to 60 groups. A part that lacks such groups borrows those of part 0 that are nearest to
    its range. Added documents can make such a loan unnecessary; otherwise they move none.

    Args:
        keys: Of each document, its id or a digest of its text.
        groups: The group of each document.
        targets: (n_documents, n_labels) of 0 and 1.
        shares: Each part's share of the documents; they add up to 1. Part 0 is the training split.
        seed: Key of the hash.

    Returns:
        (n_documents,) index of each document's part, the same within a group.
    """
    numbers: dict[str, int] = {}
    group_of = np.array([numbers.setdefault(group, len(numbers)) for group in groups], dtype=np.int64)
    places = np.zeros(len(numbers))
    np.maximum.at(places, group_of, [_place(key, seed) for key in keys])
    labels = np.zeros((len(numbers), targets.shape[1]), dtype=bool)  # (n_groups, n_labels)
    np.logical_or.at(labels, group_of, targets == 1)
    # The last part has the lowest places, part 0 the highest.
    ends = np.cumsum(list(reversed(shares[1:])))
    parts = len(shares) - 1 - np.searchsorted(ends, places, side="right").astype(np.int64)
    loans = _Loans(parts, places, np.concatenate([labels, ~labels], axis=1))
    largest_first = sorted(range(1, len(shares)), key=lambda part: -shares[part])
    loans.spread_labels(largest_first)
    for part in largest_first:
        loans.fill(part, max(1, round(2 / 3 * shares[part] * min(len(parts), _FEW))))
    return parts[group_of]


def _place(key: str, seed: int) -> float:
    digest = hashlib.blake2b(
        key.encode("utf-8", "surrogatepass"), digest_size=8, key=seed.to_bytes(8, "big"), person=b"kdh-ray split"
    )
    return int.from_bytes(digest.digest(), "big") / 2**64


class _Loans:
    """Moves the few groups without which a part would lack a label or be far too small.

    Args:
        parts: (n_groups,) part of each group, changed in place.
        places: (n_groups,) in [0, 1).
        labels: (n_groups, n_labels) labels, and their absence.
    """

    def __init__(self, parts: NDArray[np.int64], places: NDArray[np.float64], labels: NDArray[np.bool_]) -> None:
        self._parts, self._places, self._labels = parts, places, labels

    def spread_labels(self, held_out: Sequence[int]) -> None:
        """Give each part a group of each label, as far as they suffice: part 0 first, then ``held_out`` in order."""
        of_label = [np.flatnonzero(column) for column in self._labels.T]
        rarest_first = sorted((groups for groups in of_label if len(groups)), key=len)
        for groups in rarest_first:
            if not self._has(_TRAIN, groups):
                self._parts[groups[np.argmax(self._places[groups])]] = _TRAIN
        for groups in rarest_first:
            for number, part in enumerate(held_out, start=1):
                for source in (_TRAIN, *held_out):
                    if len(groups) > number and not self._has(part, groups):
                        self._lend(source, part, groups)

    def fill(self, part: int, least: int) -> None:
        """Give a part training groups until it has ``least`` groups."""
        groups = np.arange(len(self._parts))
        while (self._parts == part).sum() < least and self._lend(_TRAIN, part, groups):
            pass

    def _has(self, part: int, groups: NDArray[np.int64]) -> bool:
        return bool((self._parts[groups] == part).any())

    def _lend(self, source: int, part: int, groups: NDArray[np.int64]) -> bool:
        """Move the one of ``groups`` with the lowest place that leaves its ``source`` every label; False if none."""
        lender = self._parts == source
        only_there = self._labels[lender].sum(axis=0) == 1  # labels that one group of the source has
        lendable = groups[lender[groups] & ~(self._labels[groups] & only_there).any(axis=1)]
        if len(lendable):
            self._parts[lendable[np.argmin(self._places[lendable])]] = part
        return bool(len(lendable))
