"""Checks that any corpus must pass, whatever it was read from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kdh_ray.data.corpus import SPLIT_NAMES, Corpus
from kdh_ray.data.messages import listing
from kdh_ray.errors import DataError

FEW = 20  # documents with which splits made here can come out empty


def check_corpus(corpus: Corpus) -> None:
    """Check that every split has documents and that every label can be learnt.

    Raises:
        DataError: With every fault found, in one line.
    """
    faults = empty_splits(corpus) or _label_faults(corpus)
    if faults:
        raise DataError(f"corpus {corpus.name!r}: " + "; ".join(faults))


def empty_splits(corpus: Corpus) -> list[str]:
    """Return a line for each split without documents, and one if there are too few for three splits."""
    counts = {name: len(corpus.splits[name]) if name in corpus.splits else 0 for name in SPLIT_NAMES}
    faults = [f"split {name!r} has no document" for name, count in counts.items() if not count]
    if faults and sum(counts.values()) < FEW:
        faults.append(f"{sum(counts.values())} documents are too few to train, validate and test on")
    return faults


def _label_faults(corpus: Corpus) -> list[str]:
    """Describe labels without a positive document, without one in training, or on every document there."""
    # (n_labels,) documents with each label
    support = {name: split.targets.sum(axis=0) for name, split in corpus.splits.items()}
    total = np.sum(list(support.values()), axis=0)
    train = support["train"]

    def labels_where(condition: NDArray[np.bool_]) -> list[str]:
        return [label for label, holds in zip(corpus.labels, condition, strict=True) if holds]

    rules = {
        "every label needs a positive document; none has": total == 0,
        "every label needs a positive document in the training split; only other splits have": (
            (train == 0) & (total > 0)
        ),
        "every label needs two classes in the training split; every document there has": (
            train == len(corpus.splits["train"])
        ),
    }
    return [f"{rule} {listing(labels_where(holds), 'label')}" for rule, holds in rules.items() if holds.any()]
