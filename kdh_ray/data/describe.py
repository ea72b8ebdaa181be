"""Description of a corpus in numbers: sizes, label support, lengths, truncation, and texts shared between splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kdh_ray.data.corpus import SPLIT_NAMES, Corpus, Split
from kdh_ray.data.messages import listing
from kdh_ray.data.near_duplicates import MOST_DOCUMENTS, SIMILARITY, near_duplicates

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FEW_DOCUMENTS = 10  # a label of fewer training documents gets a warning


@dataclass(frozen=True)
class Lengths:
    """Lengths of a split's documents, in words or tokens.

    Attributes:
        median: Median.
        p95: 95th percentile.
        longest: Maximum.
    """

    median: int
    p95: int
    longest: int

    @classmethod
    def of(cls, lengths: NDArray[np.int64]) -> Lengths:
        """Summarise (n_documents,) lengths. Percentiles are rounded up."""
        median, p95 = np.ceil(np.quantile(lengths, [0.5, 0.95]))
        return cls(int(median), int(p95), int(lengths.max()))


@dataclass(frozen=True)
class SplitDescription:
    """One split in numbers.

    Attributes:
        name: ``train``, ``validation`` or ``test``.
        documents: Number of documents.
        unlabelled: Number of documents without a label.
        labels_per_document: Mean number of labels.
        segments: Number of labelled parts of all documents; None if the corpus has no parts.
        support: (n_labels,) number of documents with each label.
        words: Lengths in words, separated by white space.
        tokens: Lengths in tokens, special ones included; None without a tokenizer.
        truncated: Share of documents longer than the maximum, 0..1; None without a tokenizer.
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
    """Documents with the same text, up to case, spacing and Unicode form.

    Attributes:
        earlier: Name of a split.
        later: Name of a later split, or of the same one.
        ids: Documents of ``later`` whose text is also in ``earlier``, or occurred before within the same split.
    """

    earlier: str
    later: str
    ids: Sequence[str]


@dataclass(frozen=True)
class Description:
    """A corpus in numbers.

    Attributes:
        name: Name of the corpus.
        labels: Names, in the order of ``support`` and ``cooccurrence``.
        splits: Train, validation and test, in this order, without those that have no document.
        cooccurrence: (n_labels, n_labels) number of documents with both labels, over all splits. Its diagonal is the
            support.
        duplicates: Documents with the same text.
        warnings: Faults to know of before training, one line each.
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
        corpus: The corpus.
        tokenizer: Counts tokens. Without one, ``tokens`` and ``truncated`` of splits are None.
        max_tokens: Tokens to which training would cut documents, special tokens included.
    """
    names = [name for name in SPLIT_NAMES if name in corpus.splits and len(corpus.splits[name])]
    splits = [_describe_split(name, corpus.splits[name], tokenizer, max_tokens) for name in names]
    targets = np.concatenate([corpus.splits[name].targets for name in names]).astype(np.int64)
    duplicates = _duplicates(corpus)
    warnings = [
        *corpus.warnings,
        *_leak_warnings(duplicates),
        *near_duplicate_warnings(corpus),
        *_few_document_warnings(corpus.labels, splits),
        *_unlabelled_warnings(splits),
    ]
    cooccurrence = targets.T @ targets  # (n_labels, n_documents) @ (n_documents, n_labels)
    return Description(corpus.name, corpus.labels, splits, cooccurrence, duplicates, warnings)


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
    """Count the tokens of whole texts, special tokens included.

    Args:
        texts: The texts.
        tokenizer: Its maximum length has no effect.
        batch: Texts per call of the tokenizer.

    Returns:
        (n_texts,) numbers of tokens.
    """
    lengths: list[int] = []
    for start in range(0, len(texts), batch):
        encoded = tokenizer(list(texts[start : start + batch]), truncation=False, verbose=False)
        lengths += [len(ids) for ids in encoded["input_ids"]]
    return np.array(lengths, dtype=np.int64)


def leak_warnings(corpus: Corpus) -> list[str]:
    """Warn of each pair of splits that share texts, up to case, spacing and Unicode form; names documents by id."""
    return _leak_warnings(_duplicates(corpus))


def near_duplicate_warnings(corpus: Corpus) -> list[str]:
    """Warn in one line of held-out texts that nearly repeat one of an earlier split; names documents by id."""
    n_documents = sum(map(len, corpus.splits.values()))
    if n_documents > MOST_DOCUMENTS:
        return [f"texts that nearly repeat others are not searched for in more than {MOST_DOCUMENTS:,} documents"]
    found = near_duplicates(corpus)
    pairs = [f"{listing(ids, f'{later} document')}, like {earlier} ones" for (earlier, later), ids in found.items()]
    if not pairs:
        return []
    return [f"near-duplicates, with {100 * SIMILARITY:.0f} % of all pairs of words in common: {'; '.join(pairs)}"]


def _duplicates(corpus: Corpus) -> list[Duplicates]:
    splits = {name: corpus.splits[name] for name in SPLIT_NAMES if name in corpus.splits}
    digests = {name: split.digests for name, split in splits.items()}
    within = [Duplicates(name, name, _repeats(split.ids, digests[name])) for name, split in splits.items()]
    between = []
    for earlier, later in combinations(splits, 2):
        earlier_digests = set(digests[earlier])
        pairs = zip(splits[later].ids, digests[later], strict=True)
        between.append(Duplicates(earlier, later, [id_ for id_, digest in pairs if digest in earlier_digests]))
    return [duplicates for duplicates in (*within, *between) if duplicates.ids]


def _repeats(ids: Sequence[str], digests: Sequence[str]) -> list[str]:
    """Return the ids of documents whose digest an earlier document of the split has."""
    seen: set[str] = set()
    repeats = []
    for id_, digest in zip(ids, digests, strict=True):
        if digest in seen:
            repeats.append(id_)
        seen.add(digest)
    return repeats


def _leak_warnings(duplicates: Sequence[Duplicates]) -> list[str]:
    return [
        f"leak: text of {listing(shared.ids, shared.later + ' document')} is in the {shared.earlier} split too"
        for shared in duplicates
        if shared.earlier != shared.later
    ]


def _few_document_warnings(labels: Sequence[str], splits: Sequence[SplitDescription]) -> list[str]:
    warnings = []
    for split in splits:
        least = FEW_DOCUMENTS if split.name == "train" else 1
        rare = [label for label, count in zip(labels, split.support, strict=True) if count < least]
        if rare:
            number = f"fewer than {least} documents" if least > 1 else "no document"
            warnings.append(f"{number} of the {split.name} split with {listing(rare, 'label')}")
    return warnings


def _unlabelled_warnings(splits: Sequence[SplitDescription]) -> list[str]:
    """Warn if most documents have no label: nobody may have looked for one."""
    unlabelled, documents = (sum(getattr(split, name) for split in splits) for name in ("unlabelled", "documents"))
    if unlabelled <= documents / 2:
        return []
    return [f"{unlabelled} of {documents} documents have no label; data.without_labels: drop leaves them out"]
