"""Documents, labels and splits: the types that everything else works on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kdh_ray.data.text_digest import text_digest

if TYPE_CHECKING:
    from kdh_ray.data.text_pool import TextPool

SPLIT_NAMES = ("train", "validation", "test")


Spans = Sequence[NDArray[np.int32]]
"""One array per document, (n_segments, 2): half-open character ranges of its text, in order, not overlapping."""


@dataclass(frozen=True)
class Texts:
    """Documents without labels, in a fixed order.

    Attributes:
        ids: Document ids.
        texts: The documents.
        spans: Parts of each document; None if documents are read whole.
    """

    ids: Sequence[str]
    texts: Sequence[str] = field(repr=False)  # tracebacks and logs show representations
    spans: Spans | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def digests(self) -> list[str]:
        """Digest of each text; see :attr:`Split.digests`."""
        return [text_digest(text) for text in self.texts]

    @classmethod
    def numbered(cls, texts: Sequence[str]) -> Texts:
        """Texts whose ids are their positions, from 0."""
        return cls([str(number) for number in range(len(texts))], list(texts))


@dataclass(frozen=True)
class Segments:
    """Labelled parts of documents: a corpus's sentences, a note's sections.

    Attributes:
        spans: Where the parts are.
        targets: One array per document, (n_segments, n_labels) int8 of 0 and 1.
    """

    spans: Spans
    targets: Sequence[NDArray[np.int8]]


@dataclass(frozen=True)
class Split:
    """Labelled documents of one split, in a fixed order.

    Attributes:
        ids: Document ids, unique in the corpus.
        texts: The documents.
        targets: (n_documents, n_labels) int8 of 0 and 1.
        segments: Labelled parts of each document, if the corpus has them.
        groups: Group of each document, such as the patient of a note, if the corpus names them.
    """

    ids: Sequence[str]
    texts: Sequence[str] = field(repr=False)  # tracebacks and logs show representations
    targets: NDArray[np.int8] = field(repr=False)
    segments: Segments | None = field(default=None, repr=False)
    groups: Sequence[str] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def digests(self) -> list[str]:
        """Digest of each text, by which texts are recognised as the same; see :func:`text_digest`."""
        return [text_digest(text) for text in self.texts]

    def take(self, indices: Sequence[int] | NDArray[np.int64]) -> Split:
        """Return the documents at ``indices``, in that order."""
        segments = self.segments and Segments(
            [self.segments.spans[i] for i in indices], [self.segments.targets[i] for i in indices]
        )
        return Split(
            [self.ids[i] for i in indices],
            [self.texts[i] for i in indices],
            self.targets[np.asarray(indices, dtype=np.int64)],
            segments,
            self.groups and [self.groups[i] for i in indices],
        )

    def joined(self, other: Split) -> Split:
        """Return these documents, then those of ``other``."""
        segments = (self.segments and other.segments) and Segments(
            [*self.segments.spans, *other.segments.spans], [*self.segments.targets, *other.segments.targets]
        )
        return Split(
            [*self.ids, *other.ids],
            [*self.texts, *other.texts],
            np.concatenate([self.targets, other.targets]),
            segments,
            (self.groups and other.groups) and [*self.groups, *other.groups],
        )

    def raw(self) -> Texts:
        """Return the plain texts, as a user would send them: without labels and without annotated parts."""
        return Texts(self.ids, self.texts)

    def annotated(self) -> Texts:
        """Return the texts with the corpus's own parts, if it has them."""
        return Texts(self.ids, self.texts, None if self.segments is None else self.segments.spans)


class CorpusIdentity(NamedTuple):
    """The state of a corpus that results are of, whatever sample of its training split they learnt from.

    Attributes:
        fingerprint: That of the whole corpus; see :meth:`Corpus.fingerprint`.
        documents: Number of documents of all its splits.
    """

    fingerprint: str
    documents: int

    def columns(self) -> dict[str, Any]:
        """Return ``data_fingerprint`` and ``data_documents``, the columns of a result row."""
        return {f"data_{name}": value for name, value in self._asdict().items()}


@dataclass(frozen=True)
class Unlabelled:
    """Text without labels that distillations learn from.

    Attributes:
        texts: The documents.
        logits: (n_documents, n_labels) of the teacher, or mean logits of several.
        teachers: Names of what predicted them: stages, checkpoints, or folders of predictions.
        sample: Documents that an epoch trains on, drawn anew for each; None: all.
    """

    texts: Texts
    logits: NDArray[np.float32] = field(repr=False)
    teachers: Sequence[str] = ()
    sample: int | None = None


@dataclass(frozen=True)
class Folds:
    """A division of documents for cross-fitting; see ``kdh_ray.data.folds``.

    Attributes:
        parts: (n_documents,) number of each document's fold, from 1; documents are those of ``splits``, in order.
        splits: The splits that are divided, ``train`` and ``validation`` or ``train`` alone.
    """

    parts: NDArray[np.int64] = field(repr=False)
    splits: tuple[str, ...]


@dataclass(frozen=True)
class Corpus:
    """Named splits over one set of labels, with the metric that its protocol reports.

    Attributes:
        name: The protocol's name in result rows (``hoc-blurb``, ``synthetic``, the name of a user's table).
        labels: Label names; column j of every ``targets`` is ``labels[j]``.
        splits: ``train``, ``validation`` and ``test``.
        metric: The protocol's official metric, a name known to ``kdh_ray.evaluation.metrics``.
        notes: How the files were read, and how the splits were made.
        unlabelled: Further text with teacher logits but no labels.
        pool: Further text without labels or logits, which the teachers of a run are to predict.
        warnings: What a reader changed or left out.
        sample_of: The whole corpus, of which this one has a sample of the training split; None if it is whole itself.
        folds: A division of the documents, if models are cross-fitted.
    """

    name: str
    labels: Sequence[str]
    splits: Mapping[str, Split]
    metric: str = "f1_micro"
    notes: Sequence[str] = field(default=())
    unlabelled: Unlabelled | None = None
    warnings: Sequence[str] = field(default=())
    folds: Folds | None = field(default=None)
    sample_of: CorpusIdentity | None = None
    pool: TextPool | None = field(default=None, repr=False)

    @property
    def identity(self) -> CorpusIdentity:
        """The whole corpus, by which results on other states of its data are told apart."""
        return self.sample_of or CorpusIdentity(self.fingerprint(), sum(map(len, self.splits.values())))

    def fingerprint(self) -> str:
        """Return the SHA-256 of the labels, ids, texts and targets of every split."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256(repr(list(self.labels)).encode())
        for name in sorted(self.splits):
            split = self.splits[name]
            digest.update(repr((name, list(split.ids))).encode())
            for text in split.texts:
                digest.update(hashlib.sha256(text.encode()).digest())
            digest.update(np.ascontiguousarray(split.targets, dtype=np.int8).tobytes())
            if split.segments is not None:
                for spans, targets in zip(split.segments.spans, split.segments.targets, strict=True):
                    digest.update(np.ascontiguousarray(spans, dtype=np.int32).tobytes())
                    digest.update(np.ascontiguousarray(targets, dtype=np.int8).tobytes())
        return digest.hexdigest()
