"""What is in a corpus: sizes, label support, lengths, truncation, and texts that leak from one split into another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kdh_ray.data.corpus import SPLIT_NAMES, Corpus, Split
from kdh_ray.data.messages import listing
from kdh_ray.data.text_digest import text_digest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SCARCE = 10  # training documents with a label, below which it is worth a warning


@dataclass(frozen=True)
class Lengths:
    """Of a split's documents: median, 95th percentile and maximum."""

    median: int
    p95: int
    longest: int

    @classmethod
    def of(cls, lengths: NDArray[np.int64]) -> Lengths:
        """Percentiles are rounded up to a length."""
        return cls(*(int(np.ceil(value)) for value in (np.median(lengths), np.quantile(lengths, 0.95), lengths.max())))


@dataclass(frozen=True)
class SplitDescription:
    """One split.

    Attributes:
        name: ``train``, ``validation`` or ``test``.
        documents: How many.
        unlabelled: Documents without a label.
        labels_per_document: Mean.
        segments: Labelled parts of all documents; None where the corpus has none.
        support: (n_labels,) documents with each label.
        words: Separated by white space.
        tokens: Of a tokenizer, special ones included; None without a tokenizer.
        truncated: Share of documents longer than the maximum; None without a tokenizer.
    """

    name: str
    documents: int
    unlabelled: int
    labels_per_document: float
    segments: int | None
    support: NDArray[np.int64]
    words: Lengths
    tokens: Lengths | None
    truncated: float | None


@dataclass(frozen=True)
class Duplicates:
    """Documents of ``later`` whose text is in ``earlier`` too, by id; with the same split twice, repeats within it."""

    earlier: str
    later: str
    ids: Sequence[str]


@dataclass(frozen=True)
class Description:
    """A corpus in numbers.

    Attributes:
        name: Of the corpus.
        labels: In the order of ``support`` and ``cooccurrence``.
        splits: In the order train, validation, test.
        cooccurrence: (n_labels, n_labels) documents with both labels, over all splits; its diagonal is the support.
        duplicates: Same texts, up to case, spacing and Unicode form.
        warnings: What a user should know before training, one line each.
    """

    name: str
    labels: Sequence[str]
    splits: Sequence[SplitDescription]
    cooccurrence: NDArray[np.int64]
    duplicates: Sequence[Duplicates]
    warnings: Sequence[str]


def describe(corpus: Corpus, tokenizer: PreTrainedTokenizerBase | None = None, max_tokens: int = 256) -> Description:
    """Describe a corpus.

    Args:
        corpus: Any.
        tokenizer: Counts tokens, if given.
        max_tokens: Where documents would be cut, special tokens included.
    """
    names = [name for name in SPLIT_NAMES if name in corpus.splits]
    splits = [_describe_split(name, corpus.splits[name], tokenizer, max_tokens) for name in names]
    targets = np.concatenate([corpus.splits[name].targets for name in names]).astype(np.int64)
    duplicates = _duplicates(corpus)
    warnings = [*_leaks(duplicates), *_scarce(corpus.labels, splits)]
    return Description(corpus.name, corpus.labels, splits, targets.T @ targets, duplicates, warnings)


def _describe_split(
    name: str, split: Split, tokenizer: PreTrainedTokenizerBase | None, max_tokens: int
) -> SplitDescription:
    tokens = None if tokenizer is None else token_lengths(split.texts, tokenizer)
    labels = split.targets.sum(axis=1)
    return SplitDescription(
        name=name,
        documents=len(split),
        unlabelled=int((labels == 0).sum()),
        labels_per_document=float(labels.mean()),
        segments=None if split.segments is None else sum(map(len, split.segments.spans)),
        support=split.targets.sum(axis=0, dtype=np.int64),
        words=Lengths.of(np.array([len(text.split()) for text in split.texts])),
        tokens=None if tokens is None else Lengths.of(tokens),
        truncated=None if tokens is None else float((tokens > max_tokens).mean()),
    )


def token_lengths(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, batch: int = 1000) -> NDArray[np.int64]:
    """(n_texts,) tokens of each text, special ones included, uncut."""
    lengths: list[int] = []
    for start in range(0, len(texts), batch):
        encoded = tokenizer(list(texts[start : start + batch]), truncation=False, verbose=False)
        lengths += [len(ids) for ids in encoded["input_ids"]]
    return np.array(lengths, dtype=np.int64)


def leak_warnings(corpus: Corpus) -> list[str]:
    """A warning for each pair of splits that share texts, up to case, spacing and Unicode form; it names ids alone."""
    return _leaks(_duplicates(corpus))


def _duplicates(corpus: Corpus) -> list[Duplicates]:
    splits = {name: corpus.splits[name] for name in SPLIT_NAMES if name in corpus.splits}
    digests = {name: [text_digest(text) for text in split.texts] for name, split in splits.items()}
    found = []
    for name, split in splits.items():
        first: dict[str, str] = {}
        repeats = [
            id_ for id_, digest in zip(split.ids, digests[name], strict=True) if first.setdefault(digest, id_) != id_
        ]
        found.append(Duplicates(name, name, repeats))
    for earlier, later in combinations(splits, 2):
        known = set(digests[earlier])
        shared = [id_ for id_, digest in zip(splits[later].ids, digests[later], strict=True) if digest in known]
        found.append(Duplicates(earlier, later, shared))
    return [duplicates for duplicates in found if duplicates.ids]


def _leaks(duplicates: Sequence[Duplicates]) -> list[str]:
    return [
        f"leak: text of {listing(found.ids, found.later + ' document')} is in the {found.earlier} split too"
        for found in duplicates
        if found.earlier != found.later
    ]


def _scarce(labels: Sequence[str], splits: Sequence[SplitDescription]) -> list[str]:
    warnings = []
    for split in splits:
        least = SCARCE if split.name == "train" else 1
        scarce = [label for label, count in zip(labels, split.support, strict=True) if count < least]
        if scarce:
            few = f"fewer than {least} documents" if least > 1 else "no document"
            warnings.append(f"{few} of the {split.name} split with {listing(scarce, 'label')}")
    return warnings
