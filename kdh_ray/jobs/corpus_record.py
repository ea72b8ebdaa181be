"""A run's record of its corpus, by which a resumed run notices that documents or labels have changed.

``corpus.safetensors`` in the run's folder holds 25 bytes for each document: keyed digests of its text and of its
labels, and its split. The corpus's fingerprint only says that something has changed; the record says what.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from kdh_ray.data.corpus import SPLIT_NAMES, Corpus, Split
from kdh_ray.data.document_set import BYTES, as_bytes, keyed_digest, new_key
from kdh_ray.errors import CheckpointError

_LABEL_BYTES = 8
_FORMAT = "1"


@dataclass(frozen=True)
class CorpusRecord:
    """The documents of a corpus without their texts.

    Attributes:
        fingerprint: Of the corpus.
        labels: Names of its labels.
        key: Key of the digests.
        texts: (n_documents, 16) uint8 digests of texts.
        targets: (n_documents, 8) uint8 digests of each document's labels, and of those of its parts.
        splits: (n_documents,) uint8 numbers of splits, by their order in ``SPLIT_NAMES``.
    """

    fingerprint: str
    labels: list[str]
    key: bytes
    texts: NDArray[np.uint8]
    targets: NDArray[np.uint8]
    splits: NDArray[np.uint8]

    @classmethod
    def of(cls, corpus: Corpus, key: bytes | None = None) -> CorpusRecord:
        """Return the record of a corpus, under a new key if none is given."""
        key = key or new_key()
        named = [(number, corpus.splits[name]) for number, name in enumerate(SPLIT_NAMES) if name in corpus.splits]
        texts = [keyed_digest(digest, key) for _, split in named for digest in split.digests]
        targets = [keyed_digest(facts, key, _LABEL_BYTES) for _, split in named for facts in _labels(corpus, split)]
        return cls(
            corpus.fingerprint(),
            list(corpus.labels),
            key,
            np.frombuffer(b"".join(texts), dtype=np.uint8).reshape(-1, BYTES),
            np.frombuffer(b"".join(targets), dtype=np.uint8).reshape(-1, _LABEL_BYTES),
            np.concatenate([np.full(len(split), number, dtype=np.uint8) for number, split in named]),
        )

    def changes(self, corpus: Corpus) -> str:
        """Say in words what has changed since; empty if the documents, their labels and their splits are the same."""
        if self.labels != list(corpus.labels):
            return f"the labels were {', '.join(self.labels)} and are {', '.join(corpus.labels)}"
        now = CorpusRecord.of(corpus, self.key)
        texts, texts_now = Counter(as_bytes(self.texts)), Counter(as_bytes(now.texts))
        added, removed = (texts_now - texts).total(), (texts - texts_now).total()
        # A document with another label or split is a new pair, as each added document is.
        relabelled = (_pairs(now.texts, now.targets) - _pairs(self.texts, self.targets)).total() - added
        moved = (_pairs(now.texts, now.splits[:, None]) - _pairs(self.texts, self.splits[:, None])).total() - added
        counts = {"added": added, "removed": removed, "relabelled": relabelled, "in another split": moved}
        found = [f"{count} {what}" for what, count in counts.items() if count > 0]
        return f"documents: {', '.join(found)}" if found else ""

    def save(self, file: Path) -> None:
        """Write the record."""
        tensors = {
            "key": np.frombuffer(self.key, dtype=np.uint8),
            "texts": self.texts,
            "targets": self.targets,
            "splits": self.splits,
        }
        facts = {"format": _FORMAT, "fingerprint": self.fingerprint, "labels": json.dumps(self.labels)}
        temporary = file.with_name(f".{file.name}")
        save_file(tensors, temporary, facts)
        temporary.replace(file)

    @classmethod
    def load(cls, file: Path) -> CorpusRecord | None:
        """Read a record; None if there is none.

        Raises:
            CheckpointError: If the file can't be read.
        """
        if not file.exists():
            return None
        try:
            with safe_open(file, framework="np") as stored:
                facts = stored.metadata() or {}
                tensors = {name: stored.get_tensor(name) for name in ("key", "texts", "targets", "splits")}
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file} can't be read ({type(error).__name__}); remove it to do without") from None
        if facts.get("format") != _FORMAT:
            raise CheckpointError(f"{file}: format must be {_FORMAT}; got {facts.get('format')!r}")
        arrays = (tensors[name] for name in ("texts", "targets", "splits"))
        return cls(facts["fingerprint"], json.loads(facts["labels"]), tensors["key"].tobytes(), *arrays)


def _labels(corpus: Corpus, split: Split) -> list[str]:
    """Return, for each document, its labels and those of its parts in a string."""
    rows = [row.tobytes().hex() for row in split.targets.astype(np.int8)]
    if split.segments is None:
        return rows
    parts = zip(split.segments.spans, split.segments.targets, strict=True)
    return [
        f"{row} {spans.astype(np.int32).tobytes().hex()} {targets.astype(np.int8).tobytes().hex()}"
        for row, (spans, targets) in zip(rows, parts, strict=True)
    ]


def _pairs(texts: NDArray[np.uint8], others: NDArray[np.uint8]) -> Counter[bytes]:
    return Counter(as_bytes(np.concatenate([texts, others], axis=1)))
