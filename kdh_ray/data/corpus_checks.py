"""Faults that make any corpus unusable, whatever it was read from."""

from __future__ import annotations

import numpy as np

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
    support = {name: split.targets.sum(axis=0) for name, split in corpus.splits.items()}
    everywhere = sum(support.values(), start=np.zeros(len(corpus.labels), dtype=np.int64))
    never = [label for label, count in zip(corpus.labels, everywhere, strict=True) if count == 0]
    unseen = [
        label
        for label, train, total in zip(corpus.labels, support["train"], everywhere, strict=True)
        if train == 0 and total > 0
    ]
    size = len(corpus.splits["train"])
    always = [label for label, count in zip(corpus.labels, support["train"], strict=True) if count == size]
    rules = [
        (never, "every label needs a positive document; none has"),
        (unseen, "every label needs a positive document in the training split; only other splits have"),
        (always, "every label needs two classes in the training split; every document there has"),
    ]
    return [f"{rule} {listing(labels, 'label')}" for labels, rule in rules if labels]
