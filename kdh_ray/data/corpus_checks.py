"""Checks that any corpus must pass, whatever it was read from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kdh_ray.data.corpus import SPLIT_NAMES, Corpus
from kdh_ray.data.messages import listing
from kdh_ray.errors import DataError


def check_corpus(corpus: Corpus) -> None:
    """Check that every split has documents and that every label can be learnt.

    Raises:
        DataError: With every fault found, in one line.
    """
    faults = [
        f"split {name!r} has no document"
        for name in SPLIT_NAMES
        if name not in corpus.splits or len(corpus.splits[name]) == 0
    ]
    faults = faults or _label_faults(corpus)
    if faults:
        raise DataError(f"corpus {corpus.name!r}: " + "; ".join(faults))


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
